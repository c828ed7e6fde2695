func.func @_mlir_nm8(%q_ptr: memref<1xi8>, %x_scale_ptr: memref<1xf32>, %values_ptr: memref<1xi8>, %control_ptr: memref<1xi32>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant dense<0> : vector<16xi32>
  %const_4 = arith.constant 192 : index
  %const_5 = arith.constant 128 : index
  %const_6 = arith.constant dense<[0, 16, 32, 48, 1, 17, 33, 49, 2, 18, 34, 50, 3, 19, 35, 51, 4, 20, 36, 52, 5, 21, 37, 53, 6, 22, 38, 54, 7, 23, 39, 55, 8, 24, 40, 56, 9, 25, 41, 57, 10, 26, 42, 58, 11, 27, 43, 59, 12, 28, 44, 60, 13, 29, 45, 61, 14, 30, 46, 62, 15, 31, 47, 63]> : vector<64xi8>
  %const_7 = arith.constant 2048 : index
  %const_8 = arith.constant dense<[0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44, 0, 4, 8, 12, 32, 36, 40, 44]> : vector<64xi8>
  %const_9 = arith.constant dense<15> : vector<64xi8>
  %const_10 = arith.constant dense<[0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48, 0, 16, 32, 48]> : vector<64xi8>
  %const_11 = arith.constant 64 : index
  %const_12 = arith.constant dense<[16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60, 16, 20, 24, 28, 48, 52, 56, 60]> : vector<64xi8>
  %const_13 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi8> to memref<?xi8>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi8> to memref<?xi8>
  %control = memref.reinterpret_cast %control_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi32> to memref<?xi32>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  scf.for %rows1 = %row_lo to %row_hi step %const_0 {
    %i2 = arith.muli %rows1, %const_1 : index
    scf.for %token3 = %const_2 to %m step %const_0 {
      %i4 = arith.muli %token3, %const_4 : index
      %r8:2 = scf.for %word5 = %const_2 to %const_0 step %const_0 iter_args(%a6 = %const_3, %a7 = %const_3) -> (vector<16xi32>, vector<16xi32>) {
        %i9 = arith.muli %rows1, %const_0 : index
        %i10 = arith.addi %i9, %word5 : index
        %i11 = arith.muli %i10, %const_1 : index
        %x12 = vector.load %control[%i11] : memref<?xi32>, vector<16xi32>
        %c13 = vector.bitcast %x12 : vector<16xi32> to vector<64xi8>
        %i14 = arith.muli %i10, %const_5 : index
        %i15 = arith.muli %word5, %const_5 : index
        %i16 = arith.addi %i4, %i15 : index
        %i17 = arith.addi %i14, %const_2 : index
        %x18 = vector.load %values[%i17] : memref<?xi8>, vector<64xi8>
        %p19 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x18, %const_6) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i20 = arith.addi %i17, %const_7 : index
        memref.prefetch %values[%i20], read, locality<3>, data : memref<?xi8>
        %i21 = arith.addi %i16, %const_2 : index
        %x22 = vector.load %q[%i21] : memref<?xi8>, vector<64xi8>
        %c23 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_8, %c13) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c24 = arith.andi %c23, %const_9 : vector<64xi8>
        %c25 = arith.ori %c24, %const_10 : vector<64xi8>
        %p26 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x22, %c25) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d27 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a6, %p26, %p19) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i28 = arith.addi %i14, %const_11 : index
        %x29 = vector.load %values[%i28] : memref<?xi8>, vector<64xi8>
        %p30 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x29, %const_6) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i31 = arith.addi %i28, %const_7 : index
        memref.prefetch %values[%i31], read, locality<3>, data : memref<?xi8>
        %i32 = arith.addi %i16, %const_11 : index
        %x33 = vector.load %q[%i32] : memref<?xi8>, vector<64xi8>
        %c34 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_12, %c13) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c35 = arith.andi %c34, %const_9 : vector<64xi8>
        %c36 = arith.ori %c35, %const_10 : vector<64xi8>
        %p37 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x33, %c36) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d38 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a7, %p37, %p30) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d27, %d38 : vector<16xi32>, vector<16xi32>
      }
      %s39 = arith.addi %r8#0, %r8#1 : vector<16xi32>
      %x40 = vector.load %shift[%i2] : memref<?xi32>, vector<16xi32>
      %x41 = vector.load %weight_scale[%i2] : memref<?xf32>, vector<16xf32>
      %i42 = arith.addi %token3, %const_2 : index
      %s43 = arith.addi %s39, %x40 : vector<16xi32>
      %y44 = arith.sitofp %s43 : vector<16xi32> to vector<16xf32>
      %s45 = memref.load %x_scale[%i42] : memref<?xf32>
      %w46 = vector.broadcast %s45 : f32 to vector<16xf32>
      %y47 = arith.mulf %y44, %x41 : vector<16xf32>
      %y48 = arith.mulf %y47, %w46 : vector<16xf32>
      %i49 = arith.muli %i42, %const_1 : index
      %i50 = arith.addi %i49, %i2 : index
      vector.store %y48, %y[%i50] : memref<?xf32>, vector<16xf32>
    }
  }
  return
}
