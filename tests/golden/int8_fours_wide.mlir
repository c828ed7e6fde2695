func.func @_mlir_fours8(%q_ptr: memref<1xi8>, %x_scale_ptr: memref<1xf32>, %values_ptr: memref<1xi8>, %columns_ptr: memref<1xi8>, %first_ptr: memref<1xi16>, %start_ptr: memref<1xi64>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xbf16>, %m: index, %group_lo: index, %group_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 320 : index
  %const_4 = arith.constant dense<0> : vector<16xi32>
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant 64 : index
  %const_7 = arith.constant 2048 : index
  %const_8 = arith.constant dense<0> : vector<64xi8>
  %const_9 = arith.constant 128 : index
  %const_10 = arith.constant 192 : index
  %const_11 = arith.constant dense<0.0> : vector<16xf32>
  %const_12 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %first = memref.reinterpret_cast %first_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi16> to memref<?xi16>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi64> to memref<?xi64>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xbf16> to memref<?xbf16>
  scf.for %group1 = %group_lo to %group_hi step %const_0 {
    %s2 = memref.load %start[%group1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %i4 = arith.addi %group1, %const_0 : index
    %s5 = memref.load %start[%i4] : memref<?xi64>
    %i6 = arith.index_cast %s5 : i64 to index
    %i7 = arith.muli %group1, %const_1 : index
    scf.for %token8 = %const_2 to %m step %const_0 {
      %i9 = arith.muli %token8, %const_3 : index
      %r13:2 = scf.for %slot10 = %i3 to %i6 step %const_5 iter_args(%a11 = %const_4, %a12 = %const_4) -> (vector<16xi32>, vector<16xi32>) {
        %i14 = arith.addi %slot10, %const_2 : index
        %i15 = arith.muli %i14, %const_6 : index
        %x16 = vector.load %values[%i15] : memref<?xi8>, vector<64xi8>
        %x17 = vector.load %columns[%i15] : memref<?xi8>, vector<64xi8>
        %i18 = arith.addi %i15, %const_7 : index
        memref.prefetch %values[%i18], read, locality<3>, data : memref<?xi8>
        %i19 = arith.addi %i15, %const_7 : index
        memref.prefetch %columns[%i19], read, locality<3>, data : memref<?xi8>
        %s20 = memref.load %first[%i14] : memref<?xi16>
        %i21 = arith.index_castui %s20 : i16 to index
        %i22 = arith.muli %i21, %const_1 : index
        %i23 = arith.addi %i9, %i22 : index
        %m24 = arith.cmpi slt, %x17, %const_8 : vector<64xi8>
        %i25 = arith.addi %i23, %const_2 : index
        %i26 = arith.addi %i25, %const_2 : index
        %x27 = vector.load %q[%i26] : memref<?xi8>, vector<64xi8>
        %i28 = arith.addi %i25, %const_6 : index
        %x29 = vector.load %q[%i28] : memref<?xi8>, vector<64xi8>
        %i30 = arith.addi %i25, %const_9 : index
        %x31 = vector.load %q[%i30] : memref<?xi8>, vector<64xi8>
        %i32 = arith.addi %i25, %const_10 : index
        %x33 = vector.load %q[%i32] : memref<?xi8>, vector<64xi8>
        %p34 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x27, %x17, %x29) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p35 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x31, %x17, %x33) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p36 = arith.select %m24, %p35, %p34 : vector<64xi1>, vector<64xi8>
        %d37 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a11, %p36, %x16) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i38 = arith.addi %slot10, %const_0 : index
        %i39 = arith.muli %i38, %const_6 : index
        %x40 = vector.load %values[%i39] : memref<?xi8>, vector<64xi8>
        %x41 = vector.load %columns[%i39] : memref<?xi8>, vector<64xi8>
        %i42 = arith.addi %i39, %const_7 : index
        memref.prefetch %values[%i42], read, locality<3>, data : memref<?xi8>
        %i43 = arith.addi %i39, %const_7 : index
        memref.prefetch %columns[%i43], read, locality<3>, data : memref<?xi8>
        %s44 = memref.load %first[%i38] : memref<?xi16>
        %i45 = arith.index_castui %s44 : i16 to index
        %i46 = arith.muli %i45, %const_1 : index
        %i47 = arith.addi %i9, %i46 : index
        %m48 = arith.cmpi slt, %x41, %const_8 : vector<64xi8>
        %i49 = arith.addi %i47, %const_2 : index
        %i50 = arith.addi %i49, %const_2 : index
        %x51 = vector.load %q[%i50] : memref<?xi8>, vector<64xi8>
        %i52 = arith.addi %i49, %const_6 : index
        %x53 = vector.load %q[%i52] : memref<?xi8>, vector<64xi8>
        %i54 = arith.addi %i49, %const_9 : index
        %x55 = vector.load %q[%i54] : memref<?xi8>, vector<64xi8>
        %i56 = arith.addi %i49, %const_10 : index
        %x57 = vector.load %q[%i56] : memref<?xi8>, vector<64xi8>
        %p58 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x51, %x41, %x53) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p59 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x55, %x41, %x57) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p60 = arith.select %m48, %p59, %p58 : vector<64xi1>, vector<64xi8>
        %d61 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a12, %p60, %x40) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d37, %d61 : vector<16xi32>, vector<16xi32>
      }
      %s62 = arith.addi %r13#0, %r13#1 : vector<16xi32>
      %x63 = vector.load %shift[%i7] : memref<?xi32>, vector<16xi32>
      %x64 = vector.load %weight_scale[%i7] : memref<?xf32>, vector<16xf32>
      %i65 = arith.addi %token8, %const_2 : index
      %s66 = arith.addi %s62, %x63 : vector<16xi32>
      %y67 = arith.sitofp %s66 : vector<16xi32> to vector<16xf32>
      %s68 = memref.load %x_scale[%i65] : memref<?xf32>
      %w69 = vector.broadcast %s68 : f32 to vector<16xf32>
      %y70 = arith.mulf %y67, %x64 : vector<16xf32>
      %y71 = arith.mulf %y70, %w69 : vector<16xf32>
      %m72 = arith.cmpf ogt, %const_11, %y71 : vector<16xf32>
      %e73 = arith.select %m72, %const_11, %y71 : vector<16xi1>, vector<16xf32>
      %i74 = arith.muli %i65, %const_1 : index
      %i75 = arith.addi %i74, %i7 : index
      %y76 = arith.truncf %e73 : vector<16xf32> to vector<16xbf16>
      vector.store %y76, %y[%i75] : memref<?xbf16>, vector<16xbf16>
    }
  }
  return
}
