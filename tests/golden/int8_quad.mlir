func.func @_mlir_quad(%xs_ptr: memref<1xi32>, %ys_ptr: memref<1xi32>, %values_ptr: memref<1xi32>, %columns_ptr: memref<1xi32>, %row_start_ptr: memref<1xi32>, %tile_lo: index, %tile_hi: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 128 : index
  %const_2 = arith.constant 256 : index
  %const_3 = arith.constant 1 : index
  %const_4 = arith.constant dense<0> : vector<16xi32>
  %const_5 = arith.constant 16 : index
  %const_6 = arith.constant 4 : index
  %const_7 = arith.constant 1024 : index
  %const_8 = arith.constant 0 : index
  %const_9 = arith.constant 3 : index
  %const_10 = arith.constant 64 : index
  %const_11 = arith.constant 272 : index
  %const_12 = arith.constant 32 : index
  %const_13 = arith.constant 288 : index
  %const_14 = arith.constant 48 : index
  %const_15 = arith.constant 304 : index
  %const_16 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi32> to memref<?xi32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi32> to memref<?xi32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi32> to memref<?xi32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi32> to memref<?xi32>
  %row_start = memref.reinterpret_cast %row_start_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi32> to memref<?xi32>
  scf.for %tile1 = %tile_lo to %tile_hi step %const_0 {
    %i2 = arith.muli %tile1, %const_1 : index
    %i3 = arith.muli %tile1, %const_2 : index
    %i4 = arith.minsi %row_hi, %const_0 : index
    scf.for %row5 = %row_lo to %i4 step %const_3 {
      %s6 = memref.load %row_start[%row5] : memref<?xi32>
      %i7 = arith.index_castui %s6 : i32 to index
      %i8 = arith.addi %row5, %const_3 : index
      %s9 = memref.load %row_start[%i8] : memref<?xi32>
      %i10 = arith.index_castui %s9 : i32 to index
      %r20:8 = scf.for %g11 = %i7 to %i10 step %const_3 iter_args(%a12 = %const_4, %a13 = %const_4, %a14 = %const_4, %a15 = %const_4, %a16 = %const_4, %a17 = %const_4, %a18 = %const_4, %a19 = %const_4) -> (vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
        %s21 = memref.load %columns[%g11] : memref<?xi32>
        %i22 = arith.index_castui %s21 : i32 to index
        %i23 = arith.muli %i22, %const_5 : index
        %i24 = arith.addi %i2, %i23 : index
        %i25 = arith.muli %g11, %const_6 : index
        %i26 = arith.addi %i25, %const_7 : index
        memref.prefetch %values[%i26], read, locality<3>, data : memref<?xi32>
        %i27 = arith.addi %i24, %const_8 : index
        %i28 = arith.addi %i24, %const_1 : index
        %x29 = vector.load %xs[%i27] : memref<?xi32>, vector<16xi32>
        %q30 = vector.bitcast %x29 : vector<16xi32> to vector<64xi8>
        %x31 = vector.load %xs[%i28] : memref<?xi32>, vector<16xi32>
        %q32 = vector.bitcast %x31 : vector<16xi32> to vector<64xi8>
        %i33 = arith.addi %i25, %const_8 : index
        %s34 = memref.load %values[%i33] : memref<?xi32>
        %w35 = vector.broadcast %s34 : i32 to vector<16xi32>
        %q36 = vector.bitcast %w35 : vector<16xi32> to vector<64xi8>
        %d37 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a12, %q30, %q36) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d38 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a13, %q32, %q36) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i39 = arith.addi %i25, %const_3 : index
        %s40 = memref.load %values[%i39] : memref<?xi32>
        %w41 = vector.broadcast %s40 : i32 to vector<16xi32>
        %q42 = vector.bitcast %w41 : vector<16xi32> to vector<64xi8>
        %d43 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a14, %q30, %q42) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d44 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a15, %q32, %q42) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i45 = arith.addi %i25, %const_0 : index
        %s46 = memref.load %values[%i45] : memref<?xi32>
        %w47 = vector.broadcast %s46 : i32 to vector<16xi32>
        %q48 = vector.bitcast %w47 : vector<16xi32> to vector<64xi8>
        %d49 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a16, %q30, %q48) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d50 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a17, %q32, %q48) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i51 = arith.addi %i25, %const_9 : index
        %s52 = memref.load %values[%i51] : memref<?xi32>
        %w53 = vector.broadcast %s52 : i32 to vector<16xi32>
        %q54 = vector.bitcast %w53 : vector<16xi32> to vector<64xi8>
        %d55 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a18, %q30, %q54) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d56 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a19, %q32, %q54) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d37, %d38, %d43, %d44, %d49, %d50, %d55, %d56 : vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
      }
      %i57 = arith.muli %row5, %const_10 : index
      %i58 = arith.addi %i3, %i57 : index
      %i59 = arith.addi %i58, %const_8 : index
      vector.store %r20#0, %ys[%i59] : memref<?xi32>, vector<16xi32>
      %i60 = arith.addi %i58, %const_2 : index
      vector.store %r20#1, %ys[%i60] : memref<?xi32>, vector<16xi32>
      %i61 = arith.addi %i58, %const_5 : index
      vector.store %r20#2, %ys[%i61] : memref<?xi32>, vector<16xi32>
      %i62 = arith.addi %i58, %const_11 : index
      vector.store %r20#3, %ys[%i62] : memref<?xi32>, vector<16xi32>
      %i63 = arith.addi %i58, %const_12 : index
      vector.store %r20#4, %ys[%i63] : memref<?xi32>, vector<16xi32>
      %i64 = arith.addi %i58, %const_13 : index
      vector.store %r20#5, %ys[%i64] : memref<?xi32>, vector<16xi32>
      %i65 = arith.addi %i58, %const_14 : index
      vector.store %r20#6, %ys[%i65] : memref<?xi32>, vector<16xi32>
      %i66 = arith.addi %i58, %const_15 : index
      vector.store %r20#7, %ys[%i66] : memref<?xi32>, vector<16xi32>
    }
    %p67 = arith.cmpi sgt, %row_hi, %const_0 : index
    scf.if %p67 {
      %s68 = memref.load %row_start[%const_0] : memref<?xi32>
      %i69 = arith.index_castui %s68 : i32 to index
      %i70 = arith.addi %const_0, %const_3 : index
      %s71 = memref.load %row_start[%i70] : memref<?xi32>
      %i72 = arith.index_castui %s71 : i32 to index
      %r82:8 = scf.for %g73 = %i69 to %i72 step %const_3 iter_args(%a74 = %const_4, %a75 = %const_4, %a76 = %const_4, %a77 = %const_4, %a78 = %const_4, %a79 = %const_4, %a80 = %const_4, %a81 = %const_4) -> (vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
        %s83 = memref.load %columns[%g73] : memref<?xi32>
        %i84 = arith.index_castui %s83 : i32 to index
        %i85 = arith.muli %i84, %const_5 : index
        %i86 = arith.addi %i2, %i85 : index
        %i87 = arith.muli %g73, %const_6 : index
        %i88 = arith.addi %i87, %const_7 : index
        memref.prefetch %values[%i88], read, locality<3>, data : memref<?xi32>
        %i89 = arith.addi %i86, %const_8 : index
        %i90 = arith.addi %i86, %const_1 : index
        %x91 = vector.load %xs[%i89] : memref<?xi32>, vector<16xi32>
        %q92 = vector.bitcast %x91 : vector<16xi32> to vector<64xi8>
        %x93 = vector.load %xs[%i90] : memref<?xi32>, vector<16xi32>
        %q94 = vector.bitcast %x93 : vector<16xi32> to vector<64xi8>
        %i95 = arith.addi %i87, %const_8 : index
        %s96 = memref.load %values[%i95] : memref<?xi32>
        %w97 = vector.broadcast %s96 : i32 to vector<16xi32>
        %q98 = vector.bitcast %w97 : vector<16xi32> to vector<64xi8>
        %d99 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a74, %q92, %q98) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d100 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a75, %q94, %q98) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i101 = arith.addi %i87, %const_3 : index
        %s102 = memref.load %values[%i101] : memref<?xi32>
        %w103 = vector.broadcast %s102 : i32 to vector<16xi32>
        %q104 = vector.bitcast %w103 : vector<16xi32> to vector<64xi8>
        %d105 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a76, %q92, %q104) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d106 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a77, %q94, %q104) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i107 = arith.addi %i87, %const_0 : index
        %s108 = memref.load %values[%i107] : memref<?xi32>
        %w109 = vector.broadcast %s108 : i32 to vector<16xi32>
        %q110 = vector.bitcast %w109 : vector<16xi32> to vector<64xi8>
        %d111 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a78, %q92, %q110) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d112 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a79, %q94, %q110) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i113 = arith.addi %i87, %const_9 : index
        %s114 = memref.load %values[%i113] : memref<?xi32>
        %w115 = vector.broadcast %s114 : i32 to vector<16xi32>
        %q116 = vector.bitcast %w115 : vector<16xi32> to vector<64xi8>
        %d117 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a80, %q92, %q116) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %d118 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a81, %q94, %q116) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d99, %d100, %d105, %d106, %d111, %d112, %d117, %d118 : vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
      }
      %i119 = arith.muli %const_0, %const_10 : index
      %i120 = arith.addi %i3, %i119 : index
      %i121 = arith.addi %i120, %const_8 : index
      vector.store %r82#0, %ys[%i121] : memref<?xi32>, vector<16xi32>
      %i122 = arith.addi %i120, %const_2 : index
      vector.store %r82#1, %ys[%i122] : memref<?xi32>, vector<16xi32>
      %i123 = arith.addi %i120, %const_5 : index
      vector.store %r82#2, %ys[%i123] : memref<?xi32>, vector<16xi32>
      %i124 = arith.addi %i120, %const_11 : index
      vector.store %r82#3, %ys[%i124] : memref<?xi32>, vector<16xi32>
    }
  }
  return
}
