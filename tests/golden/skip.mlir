func.func @_mlir_nonzeros(%x_ptr: memref<1xf32>, %where_ptr: memref<1xi32>, %what_ptr: memref<1xf32>, %count_ptr: memref<1xi64>) {
  %const_0 = arith.constant dense<[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]> : vector<16xi32>
  %const_1 = arith.constant 0 : index
  %const_2 = arith.constant 32 : index
  %const_3 = arith.constant 16 : index
  %const_4 = arith.constant dense<0.0> : vector<16xf32>
  %const_5 = arith.constant dense<16> : vector<16xi32>
  %const_6 = arith.constant 5 : index
  %const_7 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %where = memref.reinterpret_cast %where_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi32> to memref<?xi32>
  %what = memref.reinterpret_cast %what_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %count = memref.reinterpret_cast %count_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi64> to memref<?xi64>
  %r4:2 = scf.for %k1 = %const_1 to %const_2 step %const_3 iter_args(%a2 = %const_1, %a3 = %const_0) -> (index, vector<16xi32>) {
    %x5 = vector.load %x[%k1] : memref<?xf32>, vector<16xf32>
    %m6 = arith.cmpf une, %x5, %const_4 : vector<16xf32>
    %x7 = llvm.call_intrinsic "llvm.x86.avx512.mask.compress"(%x5, %x5, %m6) : (vector<16xf32>, vector<16xf32>, vector<16xi1>) -> vector<16xf32>
    vector.store %x7, %what[%a2] : memref<?xf32>, vector<16xf32>
    %n8 = llvm.call_intrinsic "llvm.x86.avx512.mask.compress"(%a3, %a3, %m6) : (vector<16xi32>, vector<16xi32>, vector<16xi1>) -> vector<16xi32>
    vector.store %n8, %where[%a2] : memref<?xi32>, vector<16xi32>
    %b9 = vector.bitcast %m6 : vector<16xi1> to vector<1xi16>
    %b10 = vector.extract %b9[0] : i16 from vector<1xi16>
    %b11 = math.ctpop %b10 : i16
    %i12 = arith.index_castui %b11 : i16 to index
    %i13 = arith.addi %a2, %i12 : index
    %n14 = arith.addi %a3, %const_5 : vector<16xi32>
    scf.yield %i13, %n14 : index, vector<16xi32>
  }
  %m15 = vector.create_mask %const_6 : vector<16xi1>
  %x16 = vector.maskedload %x[%const_2], %m15, %const_4 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
  %m17 = arith.cmpf une, %x16, %const_4 : vector<16xf32>
  %x18 = llvm.call_intrinsic "llvm.x86.avx512.mask.compress"(%x16, %x16, %m17) : (vector<16xf32>, vector<16xf32>, vector<16xi1>) -> vector<16xf32>
  vector.store %x18, %what[%r4#0] : memref<?xf32>, vector<16xf32>
  %n19 = llvm.call_intrinsic "llvm.x86.avx512.mask.compress"(%r4#1, %r4#1, %m17) : (vector<16xi32>, vector<16xi32>, vector<16xi1>) -> vector<16xi32>
  vector.store %n19, %where[%r4#0] : memref<?xi32>, vector<16xi32>
  %b20 = vector.bitcast %m17 : vector<16xi1> to vector<1xi16>
  %b21 = vector.extract %b20[0] : i16 from vector<1xi16>
  %b22 = math.ctpop %b21 : i16
  %i23 = arith.index_castui %b22 : i16 to index
  %i24 = arith.addi %r4#0, %i23 : index
  %c25 = arith.index_cast %i24 : index to i64
  memref.store %c25, %count[%const_1] : memref<?xi64>
  return
}
func.func @_mlir_columns(%where_ptr: memref<1xi32>, %what_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %count: index, %chunk_lo: index, %chunk_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 256 : index
  %const_2 = arith.constant dense<0.0> : vector<16xf32>
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 300 : index
  %const_5 = arith.constant 6 : index
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant 32 : index
  %const_8 = arith.constant 48 : index
  %const_9 = arith.constant 64 : index
  %const_10 = arith.constant 80 : index
  %const_11 = arith.constant 96 : index
  %const_12 = arith.constant 112 : index
  %const_13 = arith.constant 128 : index
  %const_14 = arith.constant 144 : index
  %const_15 = arith.constant 160 : index
  %const_16 = arith.constant 176 : index
  %const_17 = arith.constant 192 : index
  %const_18 = arith.constant 208 : index
  %const_19 = arith.constant 224 : index
  %const_20 = arith.constant 240 : index
  %const_21 = arith.constant 12 : index
  %const_22 = arith.constant 1099511627776 : index
  %where = memref.reinterpret_cast %where_ptr to offset: [0], sizes: [%const_22], strides: [1] : memref<1xi32> to memref<?xi32>
  %what = memref.reinterpret_cast %what_ptr to offset: [0], sizes: [%const_22], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_22], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_22], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_22], strides: [1] : memref<1xf32> to memref<?xf32>
  %i1 = arith.minsi %chunk_hi, %const_0 : index
  scf.for %chunk2 = %chunk_lo to %i1 step %const_0 {
    %i3 = arith.muli %chunk2, %const_1 : index
    %r21:16 = scf.for %j4 = %const_3 to %count step %const_0 iter_args(%a5 = %const_2, %a6 = %const_2, %a7 = %const_2, %a8 = %const_2, %a9 = %const_2, %a10 = %const_2, %a11 = %const_2, %a12 = %const_2, %a13 = %const_2, %a14 = %const_2, %a15 = %const_2, %a16 = %const_2, %a17 = %const_2, %a18 = %const_2, %a19 = %const_2, %a20 = %const_2) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
      %s22 = memref.load %where[%j4] : memref<?xi32>
      %i23 = arith.index_castui %s22 : i32 to index
      %i24 = arith.muli %i23, %const_4 : index
      %i25 = arith.addi %i24, %i3 : index
      %i26 = arith.addi %j4, %const_5 : index
      %s27 = memref.load %where[%i26] : memref<?xi32>
      %i28 = arith.index_castui %s27 : i32 to index
      %i29 = arith.muli %i28, %const_4 : index
      %i30 = arith.addi %i29, %i3 : index
      %s31 = memref.load %what[%j4] : memref<?xf32>
      %w32 = vector.broadcast %s31 : f32 to vector<16xf32>
      %i33 = arith.addi %i30, %const_3 : index
      memref.prefetch %values[%i33], read, locality<3>, data : memref<?xf32>
      %i34 = arith.addi %i25, %const_3 : index
      %x35 = vector.load %values[%i34] : memref<?xf32>, vector<16xf32>
      %f36 = vector.fma %x35, %w32, %a5 : vector<16xf32>
      %i37 = arith.addi %i30, %const_6 : index
      memref.prefetch %values[%i37], read, locality<3>, data : memref<?xf32>
      %i38 = arith.addi %i25, %const_6 : index
      %x39 = vector.load %values[%i38] : memref<?xf32>, vector<16xf32>
      %f40 = vector.fma %x39, %w32, %a6 : vector<16xf32>
      %i41 = arith.addi %i30, %const_7 : index
      memref.prefetch %values[%i41], read, locality<3>, data : memref<?xf32>
      %i42 = arith.addi %i25, %const_7 : index
      %x43 = vector.load %values[%i42] : memref<?xf32>, vector<16xf32>
      %f44 = vector.fma %x43, %w32, %a7 : vector<16xf32>
      %i45 = arith.addi %i30, %const_8 : index
      memref.prefetch %values[%i45], read, locality<3>, data : memref<?xf32>
      %i46 = arith.addi %i25, %const_8 : index
      %x47 = vector.load %values[%i46] : memref<?xf32>, vector<16xf32>
      %f48 = vector.fma %x47, %w32, %a8 : vector<16xf32>
      %i49 = arith.addi %i30, %const_9 : index
      memref.prefetch %values[%i49], read, locality<3>, data : memref<?xf32>
      %i50 = arith.addi %i25, %const_9 : index
      %x51 = vector.load %values[%i50] : memref<?xf32>, vector<16xf32>
      %f52 = vector.fma %x51, %w32, %a9 : vector<16xf32>
      %i53 = arith.addi %i30, %const_10 : index
      memref.prefetch %values[%i53], read, locality<3>, data : memref<?xf32>
      %i54 = arith.addi %i25, %const_10 : index
      %x55 = vector.load %values[%i54] : memref<?xf32>, vector<16xf32>
      %f56 = vector.fma %x55, %w32, %a10 : vector<16xf32>
      %i57 = arith.addi %i30, %const_11 : index
      memref.prefetch %values[%i57], read, locality<3>, data : memref<?xf32>
      %i58 = arith.addi %i25, %const_11 : index
      %x59 = vector.load %values[%i58] : memref<?xf32>, vector<16xf32>
      %f60 = vector.fma %x59, %w32, %a11 : vector<16xf32>
      %i61 = arith.addi %i30, %const_12 : index
      memref.prefetch %values[%i61], read, locality<3>, data : memref<?xf32>
      %i62 = arith.addi %i25, %const_12 : index
      %x63 = vector.load %values[%i62] : memref<?xf32>, vector<16xf32>
      %f64 = vector.fma %x63, %w32, %a12 : vector<16xf32>
      %i65 = arith.addi %i30, %const_13 : index
      memref.prefetch %values[%i65], read, locality<3>, data : memref<?xf32>
      %i66 = arith.addi %i25, %const_13 : index
      %x67 = vector.load %values[%i66] : memref<?xf32>, vector<16xf32>
      %f68 = vector.fma %x67, %w32, %a13 : vector<16xf32>
      %i69 = arith.addi %i30, %const_14 : index
      memref.prefetch %values[%i69], read, locality<3>, data : memref<?xf32>
      %i70 = arith.addi %i25, %const_14 : index
      %x71 = vector.load %values[%i70] : memref<?xf32>, vector<16xf32>
      %f72 = vector.fma %x71, %w32, %a14 : vector<16xf32>
      %i73 = arith.addi %i30, %const_15 : index
      memref.prefetch %values[%i73], read, locality<3>, data : memref<?xf32>
      %i74 = arith.addi %i25, %const_15 : index
      %x75 = vector.load %values[%i74] : memref<?xf32>, vector<16xf32>
      %f76 = vector.fma %x75, %w32, %a15 : vector<16xf32>
      %i77 = arith.addi %i30, %const_16 : index
      memref.prefetch %values[%i77], read, locality<3>, data : memref<?xf32>
      %i78 = arith.addi %i25, %const_16 : index
      %x79 = vector.load %values[%i78] : memref<?xf32>, vector<16xf32>
      %f80 = vector.fma %x79, %w32, %a16 : vector<16xf32>
      %i81 = arith.addi %i30, %const_17 : index
      memref.prefetch %values[%i81], read, locality<3>, data : memref<?xf32>
      %i82 = arith.addi %i25, %const_17 : index
      %x83 = vector.load %values[%i82] : memref<?xf32>, vector<16xf32>
      %f84 = vector.fma %x83, %w32, %a17 : vector<16xf32>
      %i85 = arith.addi %i30, %const_18 : index
      memref.prefetch %values[%i85], read, locality<3>, data : memref<?xf32>
      %i86 = arith.addi %i25, %const_18 : index
      %x87 = vector.load %values[%i86] : memref<?xf32>, vector<16xf32>
      %f88 = vector.fma %x87, %w32, %a18 : vector<16xf32>
      %i89 = arith.addi %i30, %const_19 : index
      memref.prefetch %values[%i89], read, locality<3>, data : memref<?xf32>
      %i90 = arith.addi %i25, %const_19 : index
      %x91 = vector.load %values[%i90] : memref<?xf32>, vector<16xf32>
      %f92 = vector.fma %x91, %w32, %a19 : vector<16xf32>
      %i93 = arith.addi %i30, %const_20 : index
      memref.prefetch %values[%i93], read, locality<3>, data : memref<?xf32>
      %i94 = arith.addi %i25, %const_20 : index
      %x95 = vector.load %values[%i94] : memref<?xf32>, vector<16xf32>
      %f96 = vector.fma %x95, %w32, %a20 : vector<16xf32>
      scf.yield %f36, %f40, %f44, %f48, %f52, %f56, %f60, %f64, %f68, %f72, %f76, %f80, %f84, %f88, %f92, %f96 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
    }
    %i97 = arith.addi %i3, %const_3 : index
    %x98 = vector.load %bias[%i97] : memref<?xf32>, vector<16xf32>
    %y99 = arith.addf %r21#0, %x98 : vector<16xf32>
    %m100 = arith.cmpf ogt, %const_2, %y99 : vector<16xf32>
    %e101 = arith.select %m100, %const_2, %y99 : vector<16xi1>, vector<16xf32>
    vector.store %e101, %y[%i97] : memref<?xf32>, vector<16xf32>
    %i102 = arith.addi %i3, %const_6 : index
    %x103 = vector.load %bias[%i102] : memref<?xf32>, vector<16xf32>
    %y104 = arith.addf %r21#1, %x103 : vector<16xf32>
    %m105 = arith.cmpf ogt, %const_2, %y104 : vector<16xf32>
    %e106 = arith.select %m105, %const_2, %y104 : vector<16xi1>, vector<16xf32>
    vector.store %e106, %y[%i102] : memref<?xf32>, vector<16xf32>
    %i107 = arith.addi %i3, %const_7 : index
    %x108 = vector.load %bias[%i107] : memref<?xf32>, vector<16xf32>
    %y109 = arith.addf %r21#2, %x108 : vector<16xf32>
    %m110 = arith.cmpf ogt, %const_2, %y109 : vector<16xf32>
    %e111 = arith.select %m110, %const_2, %y109 : vector<16xi1>, vector<16xf32>
    vector.store %e111, %y[%i107] : memref<?xf32>, vector<16xf32>
    %i112 = arith.addi %i3, %const_8 : index
    %x113 = vector.load %bias[%i112] : memref<?xf32>, vector<16xf32>
    %y114 = arith.addf %r21#3, %x113 : vector<16xf32>
    %m115 = arith.cmpf ogt, %const_2, %y114 : vector<16xf32>
    %e116 = arith.select %m115, %const_2, %y114 : vector<16xi1>, vector<16xf32>
    vector.store %e116, %y[%i112] : memref<?xf32>, vector<16xf32>
    %i117 = arith.addi %i3, %const_9 : index
    %x118 = vector.load %bias[%i117] : memref<?xf32>, vector<16xf32>
    %y119 = arith.addf %r21#4, %x118 : vector<16xf32>
    %m120 = arith.cmpf ogt, %const_2, %y119 : vector<16xf32>
    %e121 = arith.select %m120, %const_2, %y119 : vector<16xi1>, vector<16xf32>
    vector.store %e121, %y[%i117] : memref<?xf32>, vector<16xf32>
    %i122 = arith.addi %i3, %const_10 : index
    %x123 = vector.load %bias[%i122] : memref<?xf32>, vector<16xf32>
    %y124 = arith.addf %r21#5, %x123 : vector<16xf32>
    %m125 = arith.cmpf ogt, %const_2, %y124 : vector<16xf32>
    %e126 = arith.select %m125, %const_2, %y124 : vector<16xi1>, vector<16xf32>
    vector.store %e126, %y[%i122] : memref<?xf32>, vector<16xf32>
    %i127 = arith.addi %i3, %const_11 : index
    %x128 = vector.load %bias[%i127] : memref<?xf32>, vector<16xf32>
    %y129 = arith.addf %r21#6, %x128 : vector<16xf32>
    %m130 = arith.cmpf ogt, %const_2, %y129 : vector<16xf32>
    %e131 = arith.select %m130, %const_2, %y129 : vector<16xi1>, vector<16xf32>
    vector.store %e131, %y[%i127] : memref<?xf32>, vector<16xf32>
    %i132 = arith.addi %i3, %const_12 : index
    %x133 = vector.load %bias[%i132] : memref<?xf32>, vector<16xf32>
    %y134 = arith.addf %r21#7, %x133 : vector<16xf32>
    %m135 = arith.cmpf ogt, %const_2, %y134 : vector<16xf32>
    %e136 = arith.select %m135, %const_2, %y134 : vector<16xi1>, vector<16xf32>
    vector.store %e136, %y[%i132] : memref<?xf32>, vector<16xf32>
    %i137 = arith.addi %i3, %const_13 : index
    %x138 = vector.load %bias[%i137] : memref<?xf32>, vector<16xf32>
    %y139 = arith.addf %r21#8, %x138 : vector<16xf32>
    %m140 = arith.cmpf ogt, %const_2, %y139 : vector<16xf32>
    %e141 = arith.select %m140, %const_2, %y139 : vector<16xi1>, vector<16xf32>
    vector.store %e141, %y[%i137] : memref<?xf32>, vector<16xf32>
    %i142 = arith.addi %i3, %const_14 : index
    %x143 = vector.load %bias[%i142] : memref<?xf32>, vector<16xf32>
    %y144 = arith.addf %r21#9, %x143 : vector<16xf32>
    %m145 = arith.cmpf ogt, %const_2, %y144 : vector<16xf32>
    %e146 = arith.select %m145, %const_2, %y144 : vector<16xi1>, vector<16xf32>
    vector.store %e146, %y[%i142] : memref<?xf32>, vector<16xf32>
    %i147 = arith.addi %i3, %const_15 : index
    %x148 = vector.load %bias[%i147] : memref<?xf32>, vector<16xf32>
    %y149 = arith.addf %r21#10, %x148 : vector<16xf32>
    %m150 = arith.cmpf ogt, %const_2, %y149 : vector<16xf32>
    %e151 = arith.select %m150, %const_2, %y149 : vector<16xi1>, vector<16xf32>
    vector.store %e151, %y[%i147] : memref<?xf32>, vector<16xf32>
    %i152 = arith.addi %i3, %const_16 : index
    %x153 = vector.load %bias[%i152] : memref<?xf32>, vector<16xf32>
    %y154 = arith.addf %r21#11, %x153 : vector<16xf32>
    %m155 = arith.cmpf ogt, %const_2, %y154 : vector<16xf32>
    %e156 = arith.select %m155, %const_2, %y154 : vector<16xi1>, vector<16xf32>
    vector.store %e156, %y[%i152] : memref<?xf32>, vector<16xf32>
    %i157 = arith.addi %i3, %const_17 : index
    %x158 = vector.load %bias[%i157] : memref<?xf32>, vector<16xf32>
    %y159 = arith.addf %r21#12, %x158 : vector<16xf32>
    %m160 = arith.cmpf ogt, %const_2, %y159 : vector<16xf32>
    %e161 = arith.select %m160, %const_2, %y159 : vector<16xi1>, vector<16xf32>
    vector.store %e161, %y[%i157] : memref<?xf32>, vector<16xf32>
    %i162 = arith.addi %i3, %const_18 : index
    %x163 = vector.load %bias[%i162] : memref<?xf32>, vector<16xf32>
    %y164 = arith.addf %r21#13, %x163 : vector<16xf32>
    %m165 = arith.cmpf ogt, %const_2, %y164 : vector<16xf32>
    %e166 = arith.select %m165, %const_2, %y164 : vector<16xi1>, vector<16xf32>
    vector.store %e166, %y[%i162] : memref<?xf32>, vector<16xf32>
    %i167 = arith.addi %i3, %const_19 : index
    %x168 = vector.load %bias[%i167] : memref<?xf32>, vector<16xf32>
    %y169 = arith.addf %r21#14, %x168 : vector<16xf32>
    %m170 = arith.cmpf ogt, %const_2, %y169 : vector<16xf32>
    %e171 = arith.select %m170, %const_2, %y169 : vector<16xi1>, vector<16xf32>
    vector.store %e171, %y[%i167] : memref<?xf32>, vector<16xf32>
    %i172 = arith.addi %i3, %const_20 : index
    %x173 = vector.load %bias[%i172] : memref<?xf32>, vector<16xf32>
    %y174 = arith.addf %r21#15, %x173 : vector<16xf32>
    %m175 = arith.cmpf ogt, %const_2, %y174 : vector<16xf32>
    %e176 = arith.select %m175, %const_2, %y174 : vector<16xi1>, vector<16xf32>
    vector.store %e176, %y[%i172] : memref<?xf32>, vector<16xf32>
  }
  %p177 = arith.cmpi sgt, %chunk_hi, %const_0 : index
  scf.if %p177 {
    %m178 = vector.create_mask %const_21 : vector<16xi1>
    %r183:3 = scf.for %j179 = %const_3 to %count step %const_0 iter_args(%a180 = %const_2, %a181 = %const_2, %a182 = %const_2) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
      %s184 = memref.load %where[%j179] : memref<?xi32>
      %i185 = arith.index_castui %s184 : i32 to index
      %i186 = arith.muli %i185, %const_4 : index
      %i187 = arith.addi %i186, %const_1 : index
      %i188 = arith.addi %j179, %const_5 : index
      %s189 = memref.load %where[%i188] : memref<?xi32>
      %i190 = arith.index_castui %s189 : i32 to index
      %i191 = arith.muli %i190, %const_4 : index
      %i192 = arith.addi %i191, %const_1 : index
      %s193 = memref.load %what[%j179] : memref<?xf32>
      %w194 = vector.broadcast %s193 : f32 to vector<16xf32>
      %i195 = arith.addi %i192, %const_3 : index
      memref.prefetch %values[%i195], read, locality<3>, data : memref<?xf32>
      %i196 = arith.addi %i187, %const_3 : index
      %x197 = vector.load %values[%i196] : memref<?xf32>, vector<16xf32>
      %f198 = vector.fma %x197, %w194, %a180 : vector<16xf32>
      %i199 = arith.addi %i192, %const_6 : index
      memref.prefetch %values[%i199], read, locality<3>, data : memref<?xf32>
      %i200 = arith.addi %i187, %const_6 : index
      %x201 = vector.load %values[%i200] : memref<?xf32>, vector<16xf32>
      %f202 = vector.fma %x201, %w194, %a181 : vector<16xf32>
      %i203 = arith.addi %i192, %const_7 : index
      memref.prefetch %values[%i203], read, locality<3>, data : memref<?xf32>
      %i204 = arith.addi %i187, %const_7 : index
      %x205 = vector.maskedload %values[%i204], %m178, %const_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %f206 = vector.fma %x205, %w194, %a182 : vector<16xf32>
      scf.yield %f198, %f202, %f206 : vector<16xf32>, vector<16xf32>, vector<16xf32>
    }
    %i207 = arith.addi %const_1, %const_3 : index
    %x208 = vector.load %bias[%i207] : memref<?xf32>, vector<16xf32>
    %y209 = arith.addf %r183#0, %x208 : vector<16xf32>
    %m210 = arith.cmpf ogt, %const_2, %y209 : vector<16xf32>
    %e211 = arith.select %m210, %const_2, %y209 : vector<16xi1>, vector<16xf32>
    vector.store %e211, %y[%i207] : memref<?xf32>, vector<16xf32>
    %i212 = arith.addi %const_1, %const_6 : index
    %x213 = vector.load %bias[%i212] : memref<?xf32>, vector<16xf32>
    %y214 = arith.addf %r183#1, %x213 : vector<16xf32>
    %m215 = arith.cmpf ogt, %const_2, %y214 : vector<16xf32>
    %e216 = arith.select %m215, %const_2, %y214 : vector<16xi1>, vector<16xf32>
    vector.store %e216, %y[%i212] : memref<?xf32>, vector<16xf32>
    %i217 = arith.addi %const_1, %const_7 : index
    %x218 = vector.maskedload %bias[%i217], %m178, %const_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %y219 = arith.addf %r183#2, %x218 : vector<16xf32>
    %m220 = arith.cmpf ogt, %const_2, %y219 : vector<16xf32>
    %e221 = arith.select %m220, %const_2, %y219 : vector<16xi1>, vector<16xf32>
    vector.maskedstore %y[%i217], %m178, %e221 : memref<?xf32>, vector<16xi1>, vector<16xf32>
  }
  return
}
