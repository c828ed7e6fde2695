func.func @_mlir_nm8(%q_ptr: memref<1xi8>, %x_scale_ptr: memref<1xf32>, %values_ptr: memref<1xi8>, %control_ptr: memref<1xi32>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 2 : index
  %const_4 = arith.constant dense<0> : vector<16xi32>
  %const_5 = arith.constant 192 : index
  %const_6 = arith.constant 3 : index
  %const_7 = arith.constant 256 : index
  %const_8 = arith.constant 32 : index
  %const_9 = arith.constant dense<[0, 16, 32, 48, 1, 17, 33, 49, 2, 18, 34, 50, 3, 19, 35, 51, 4, 20, 36, 52, 5, 21, 37, 53, 6, 22, 38, 54, 7, 23, 39, 55, 8, 24, 40, 56, 9, 25, 41, 57, 10, 26, 42, 58, 11, 27, 43, 59, 12, 28, 44, 60, 13, 29, 45, 61, 14, 30, 46, 62, 15, 31, 47, 63]> : vector<64xi8>
  %const_10 = arith.constant 2048 : index
  %const_11 = arith.constant dense<[0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38, 0, 2, 4, 6, 32, 34, 36, 38]> : vector<64xi8>
  %const_12 = arith.constant dense<3> : vector<64xi8>
  %const_13 = arith.constant dense<[0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4, 0, 0, 4, 4]> : vector<64xi8>
  %const_14 = arith.constant 64 : index
  %const_15 = arith.constant dense<[8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46, 8, 10, 12, 14, 40, 42, 44, 46]> : vector<64xi8>
  %const_16 = arith.constant dense<[8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12, 8, 8, 12, 12]> : vector<64xi8>
  %const_17 = arith.constant 128 : index
  %const_18 = arith.constant dense<[16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54, 16, 18, 20, 22, 48, 50, 52, 54]> : vector<64xi8>
  %const_19 = arith.constant dense<[16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20, 16, 16, 20, 20]> : vector<64xi8>
  %const_20 = arith.constant dense<[24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62, 24, 26, 28, 30, 56, 58, 60, 62]> : vector<64xi8>
  %const_21 = arith.constant dense<[24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28, 24, 24, 28, 28]> : vector<64xi8>
  %const_22 = arith.constant 22 : index
  %const_23 = arith.constant dense<0.0> : vector<16xf32>
  %const_24 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xi8> to memref<?xi8>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xi8> to memref<?xi8>
  %control = memref.reinterpret_cast %control_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xi32> to memref<?xi32>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_24], strides: [1] : memref<1xf32> to memref<?xf32>
  scf.for %rows1 = %row_lo to %row_hi step %const_0 {
    %i2 = arith.muli %rows1, %const_1 : index
    %i3 = arith.subi %m, %const_2 : index
    %i4 = arith.divui %i3, %const_3 : index
    %i5 = arith.muli %i4, %const_3 : index
    %i6 = arith.addi %const_2, %i5 : index
    scf.for %token7 = %const_2 to %i6 step %const_3 {
      %i8 = arith.muli %token7, %const_5 : index
      %r14:4 = scf.for %word9 = %const_2 to %const_6 step %const_0 iter_args(%a10 = %const_4, %a11 = %const_4, %a12 = %const_4, %a13 = %const_4) -> (vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
        %i15 = arith.muli %rows1, %const_6 : index
        %i16 = arith.addi %i15, %word9 : index
        %i17 = arith.muli %i16, %const_1 : index
        %x18 = vector.load %control[%i17] : memref<?xi32>, vector<16xi32>
        %c19 = vector.bitcast %x18 : vector<16xi32> to vector<64xi8>
        %i20 = arith.muli %i16, %const_7 : index
        %i21 = arith.muli %word9, %const_8 : index
        %i22 = arith.addi %i8, %i21 : index
        %i23 = arith.addi %i20, %const_2 : index
        %x24 = vector.load %values[%i23] : memref<?xi8>, vector<64xi8>
        %p25 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x24, %const_9) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i26 = arith.addi %i23, %const_10 : index
        memref.prefetch %values[%i26], read, locality<3>, data : memref<?xi8>
        %i27 = arith.addi %i22, %const_2 : index
        %x28 = vector.load %q[%i27] : memref<?xi8>, vector<64xi8>
        %i29 = arith.addi %i22, %const_5 : index
        %x30 = vector.load %q[%i29] : memref<?xi8>, vector<64xi8>
        %c31 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_11, %c19) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c32 = arith.andi %c31, %const_12 : vector<64xi8>
        %c33 = arith.ori %c32, %const_13 : vector<64xi8>
        %p34 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x28, %c33) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d35 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a10, %p34, %p25) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %p36 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x30, %c33) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d37 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a12, %p36, %p25) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i38 = arith.addi %i20, %const_14 : index
        %x39 = vector.load %values[%i38] : memref<?xi8>, vector<64xi8>
        %p40 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x39, %const_9) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i41 = arith.addi %i38, %const_10 : index
        memref.prefetch %values[%i41], read, locality<3>, data : memref<?xi8>
        %c42 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_15, %c19) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c43 = arith.andi %c42, %const_12 : vector<64xi8>
        %c44 = arith.ori %c43, %const_16 : vector<64xi8>
        %p45 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x28, %c44) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d46 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a11, %p45, %p40) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %p47 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x30, %c44) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d48 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a13, %p47, %p40) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i49 = arith.addi %i20, %const_17 : index
        %x50 = vector.load %values[%i49] : memref<?xi8>, vector<64xi8>
        %p51 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x50, %const_9) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i52 = arith.addi %i49, %const_10 : index
        memref.prefetch %values[%i52], read, locality<3>, data : memref<?xi8>
        %c53 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_18, %c19) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c54 = arith.andi %c53, %const_12 : vector<64xi8>
        %c55 = arith.ori %c54, %const_19 : vector<64xi8>
        %p56 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x28, %c55) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d57 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%d35, %p56, %p51) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %p58 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x30, %c55) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d59 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%d37, %p58, %p51) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i60 = arith.addi %i20, %const_5 : index
        %x61 = vector.load %values[%i60] : memref<?xi8>, vector<64xi8>
        %p62 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x61, %const_9) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %i63 = arith.addi %i60, %const_10 : index
        memref.prefetch %values[%i63], read, locality<3>, data : memref<?xi8>
        %c64 = llvm.call_intrinsic "llvm.x86.avx512.pmultishift.qb.512"(%const_20, %c19) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %c65 = arith.andi %c64, %const_12 : vector<64xi8>
        %c66 = arith.ori %c65, %const_21 : vector<64xi8>
        %p67 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x28, %c66) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d68 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%d46, %p67, %p62) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %p69 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x30, %c66) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d70 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%d48, %p69, %p62) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d57, %d68, %d59, %d70 : vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
      }
      %s71 = arith.addi %r14#0, %r14#1 : vector<16xi32>
      %s72 = arith.addi %r14#2, %r14#3 : vector<16xi32>
      %i73 = arith.subi %const_22, %i2 : index
      %m74 = vector.create_mask %i73 : vector<16xi1>
      %b75 = vector.maskedload %shift[%i2], %m74, %const_4 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
      %b76 = vector.maskedload %weight_scale[%i2], %m74, %const_23 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %b77 = vector.maskedload %bias[%i2], %m74, %const_23 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %i78 = arith.addi %token7, %const_2 : index
      %s79 = arith.addi %s71, %b75 : vector<16xi32>
      %y80 = arith.sitofp %s79 : vector<16xi32> to vector<16xf32>
      %s81 = memref.load %x_scale[%i78] : memref<?xf32>
      %w82 = vector.broadcast %s81 : f32 to vector<16xf32>
      %y83 = arith.mulf %y80, %b76 : vector<16xf32>
      %y84 = arith.mulf %y83, %w82 : vector<16xf32>
      %y85 = arith.addf %y84, %b77 : vector<16xf32>
      %i86 = arith.muli %i78, %const_22 : index
      %i87 = arith.addi %i86, %i2 : index
      vector.maskedstore %y[%i87], %m74, %y85 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      %i88 = arith.addi %token7, %const_0 : index
      %s89 = arith.addi %s72, %b75 : vector<16xi32>
      %y90 = arith.sitofp %s89 : vector<16xi32> to vector<16xf32>
      %s91 = memref.load %x_scale[%i88] : memref<?xf32>
      %w92 = vector.broadcast %s91 : f32 to vector<16xf32>
      %y93 = arith.mulf %y90, %b76 : vector<16xf32>
      %y94 = arith.mulf %y93, %w92 : vector<16xf32>
      %y95 = arith.addf %y94, %b77 : vector<16xf32>
      %i96 = arith.muli %i88, %const_22 : index
      %i97 = arith.addi %i96, %i2 : index
      vector.maskedstore %y[%i97], %m74, %y95 : memref<?xf32>, vector<16xi1>, vector<16xf32>
    }
  }
  return
}
