func.func @_mlir_bitmap8(%q_ptr: memref<1xi8>, %x_scale_ptr: memref<1xf32>, %values_ptr: memref<1xi8>, %masks_ptr: memref<1xi64>, %start_ptr: memref<1xi64>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %block_lo: index, %block_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 4 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 2 : index
  %const_4 = arith.constant 3 : index
  %const_5 = arith.constant dense<0> : vector<16xi32>
  %const_6 = arith.constant 128 : index
  %const_7 = arith.constant dense<0> : vector<64xi8>
  %const_8 = arith.constant 64 : index
  %const_9 = arith.constant 2048 : index
  %const_10 = arith.constant 6 : index
  %const_11 = arith.constant dense<0.0> : vector<16xf32>
  %const_12 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %masks = memref.reinterpret_cast %masks_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi64> to memref<?xi64>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi64> to memref<?xi64>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %i1 = arith.minsi %block_hi, %const_0 : index
  scf.for %block2 = %block_lo to %i1 step %const_0 {
    %i3 = arith.muli %block2, %const_1 : index
    %i4 = arith.subi %m, %const_2 : index
    %i5 = arith.divui %i4, %const_3 : index
    %i6 = arith.muli %i5, %const_3 : index
    %i7 = arith.addi %const_2, %i6 : index
    scf.for %token8 = %const_2 to %i7 step %const_3 {
      %i9 = arith.addi %i3, %const_1 : index
      scf.for %row10 = %i3 to %i9 step %const_1 {
        %i11 = arith.addi %row10, %const_2 : index
        %s12 = memref.load %start[%i11] : memref<?xi64>
        %i13 = arith.index_cast %s12 : i64 to index
        %i14 = arith.addi %row10, %const_0 : index
        %s15 = memref.load %start[%i14] : memref<?xi64>
        %i16 = arith.index_cast %s15 : i64 to index
        %i17 = arith.addi %row10, %const_3 : index
        %s18 = memref.load %start[%i17] : memref<?xi64>
        %i19 = arith.index_cast %s18 : i64 to index
        %i20 = arith.addi %row10, %const_4 : index
        %s21 = memref.load %start[%i20] : memref<?xi64>
        %i22 = arith.index_cast %s21 : i64 to index
        %i23 = arith.muli %row10, %const_3 : index
        %i24 = arith.muli %token8, %const_6 : index
        %r38:12 = scf.for %word25 = %const_2 to %const_3 step %const_0 iter_args(%a26 = %i13, %a27 = %i16, %a28 = %i19, %a29 = %i22, %a30 = %const_5, %a31 = %const_5, %a32 = %const_5, %a33 = %const_5, %a34 = %const_5, %a35 = %const_5, %a36 = %const_5, %a37 = %const_5) -> (index, index, index, index, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
          %i39 = arith.muli %word25, %const_8 : index
          %i40 = arith.addi %i24, %i39 : index
          %i41 = arith.addi %i40, %const_2 : index
          %x42 = vector.load %q[%i41] : memref<?xi8>, vector<64xi8>
          %i43 = arith.addi %i40, %const_6 : index
          %x44 = vector.load %q[%i43] : memref<?xi8>, vector<64xi8>
          %i45 = arith.addi %i23, %const_2 : index
          %i46 = arith.addi %i45, %word25 : index
          %s47 = memref.load %masks[%i46] : memref<?xi64>
          %b48 = vector.broadcast %s47 : i64 to vector<1xi64>
          %m49 = vector.bitcast %b48 : vector<1xi64> to vector<64xi1>
          %i50 = arith.addi %a26, %const_9 : index
          memref.prefetch %values[%i50], read, locality<3>, data : memref<?xi8>
          %w51 = vector.expandload %values[%a26], %m49, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b52 = math.ctpop %s47 : i64
          %i53 = arith.index_castui %b52 : i64 to index
          %i54 = arith.addi %a26, %i53 : index
          %d55 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a30, %x42, %w51) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %d56 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a34, %x44, %w51) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i57 = arith.addi %i23, %const_3 : index
          %i58 = arith.addi %i57, %word25 : index
          %s59 = memref.load %masks[%i58] : memref<?xi64>
          %b60 = vector.broadcast %s59 : i64 to vector<1xi64>
          %m61 = vector.bitcast %b60 : vector<1xi64> to vector<64xi1>
          %i62 = arith.addi %a27, %const_9 : index
          memref.prefetch %values[%i62], read, locality<3>, data : memref<?xi8>
          %w63 = vector.expandload %values[%a27], %m61, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b64 = math.ctpop %s59 : i64
          %i65 = arith.index_castui %b64 : i64 to index
          %i66 = arith.addi %a27, %i65 : index
          %d67 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a31, %x42, %w63) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %d68 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a35, %x44, %w63) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i69 = arith.addi %i23, %const_1 : index
          %i70 = arith.addi %i69, %word25 : index
          %s71 = memref.load %masks[%i70] : memref<?xi64>
          %b72 = vector.broadcast %s71 : i64 to vector<1xi64>
          %m73 = vector.bitcast %b72 : vector<1xi64> to vector<64xi1>
          %i74 = arith.addi %a28, %const_9 : index
          memref.prefetch %values[%i74], read, locality<3>, data : memref<?xi8>
          %w75 = vector.expandload %values[%a28], %m73, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b76 = math.ctpop %s71 : i64
          %i77 = arith.index_castui %b76 : i64 to index
          %i78 = arith.addi %a28, %i77 : index
          %d79 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a32, %x42, %w75) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %d80 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a36, %x44, %w75) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i81 = arith.addi %i23, %const_10 : index
          %i82 = arith.addi %i81, %word25 : index
          %s83 = memref.load %masks[%i82] : memref<?xi64>
          %b84 = vector.broadcast %s83 : i64 to vector<1xi64>
          %m85 = vector.bitcast %b84 : vector<1xi64> to vector<64xi1>
          %i86 = arith.addi %a29, %const_9 : index
          memref.prefetch %values[%i86], read, locality<3>, data : memref<?xi8>
          %w87 = vector.expandload %values[%a29], %m85, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b88 = math.ctpop %s83 : i64
          %i89 = arith.index_castui %b88 : i64 to index
          %i90 = arith.addi %a29, %i89 : index
          %d91 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a33, %x42, %w87) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %d92 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a37, %x44, %w87) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          scf.yield %i54, %i66, %i78, %i90, %d55, %d67, %d79, %d91, %d56, %d68, %d80, %d92 : index, index, index, index, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
        }
        %t93 = vector.shuffle %r38#4, %r38#5 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t94 = vector.shuffle %r38#4, %r38#5 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s95 = arith.addi %t93, %t94 : vector<16xi32>
        %t96 = vector.shuffle %r38#6, %r38#7 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t97 = vector.shuffle %r38#6, %r38#7 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s98 = arith.addi %t96, %t97 : vector<16xi32>
        %t99 = vector.shuffle %r38#8, %r38#9 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t100 = vector.shuffle %r38#8, %r38#9 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s101 = arith.addi %t99, %t100 : vector<16xi32>
        %t102 = vector.shuffle %r38#10, %r38#11 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t103 = vector.shuffle %r38#10, %r38#11 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s104 = arith.addi %t102, %t103 : vector<16xi32>
        %t105 = vector.shuffle %s95, %s98 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xi32>, vector<16xi32>
        %t106 = vector.shuffle %s95, %s98 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xi32>, vector<16xi32>
        %s107 = arith.addi %t105, %t106 : vector<16xi32>
        %t108 = vector.shuffle %s101, %s104 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xi32>, vector<16xi32>
        %t109 = vector.shuffle %s101, %s104 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xi32>, vector<16xi32>
        %s110 = arith.addi %t108, %t109 : vector<16xi32>
        %t111 = vector.shuffle %s107, %s110 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
        %t112 = vector.shuffle %s107, %s110 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
        %s113 = arith.addi %t111, %t112 : vector<16xi32>
        %t114 = vector.shuffle %s113, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
        %t115 = vector.shuffle %s113, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
        %s116 = arith.addi %t114, %t115 : vector<16xi32>
        %x117 = vector.load %shift[%row10] : memref<?xi32>, vector<4xi32>
        %l118 = vector.shuffle %x117, %x117 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xi32>, vector<4xi32>
        %s119 = arith.addi %s116, %l118 : vector<16xi32>
        %y120 = arith.sitofp %s119 : vector<16xi32> to vector<16xf32>
        %x121 = vector.load %weight_scale[%row10] : memref<?xf32>, vector<4xf32>
        %l122 = vector.shuffle %x121, %x121 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
        %x123 = vector.load %x_scale[%token8] : memref<?xf32>, vector<2xf32>
        %l124 = vector.shuffle %x123, %x123 [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] : vector<2xf32>, vector<2xf32>
        %x125 = vector.load %bias[%row10] : memref<?xf32>, vector<4xf32>
        %l126 = vector.shuffle %x125, %x125 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
        %y127 = arith.mulf %y120, %l122 : vector<16xf32>
        %y128 = arith.mulf %y127, %l124 : vector<16xf32>
        %y129 = arith.addf %y128, %l126 : vector<16xf32>
        %m130 = arith.cmpf ogt, %const_11, %y129 : vector<16xf32>
        %e131 = arith.select %m130, %const_11, %y129 : vector<16xi1>, vector<16xf32>
        %y132 = vector.extract_strided_slice %e131 {offsets = [0], sizes = [4], strides = [1]} : vector<16xf32> to vector<4xf32>
        %i133 = arith.addi %token8, %const_2 : index
        %i134 = arith.muli %i133, %const_10 : index
        %i135 = arith.addi %i134, %row10 : index
        vector.store %y132, %y[%i135] : memref<?xf32>, vector<4xf32>
        %y136 = vector.extract_strided_slice %e131 {offsets = [4], sizes = [4], strides = [1]} : vector<16xf32> to vector<4xf32>
        %i137 = arith.addi %token8, %const_0 : index
        %i138 = arith.muli %i137, %const_10 : index
        %i139 = arith.addi %i138, %row10 : index
        vector.store %y136, %y[%i139] : memref<?xf32>, vector<4xf32>
      }
    }
    scf.for %token140 = %i7 to %m step %const_0 {
      %i141 = arith.addi %i3, %const_1 : index
      scf.for %row142 = %i3 to %i141 step %const_1 {
        %i143 = arith.addi %row142, %const_2 : index
        %s144 = memref.load %start[%i143] : memref<?xi64>
        %i145 = arith.index_cast %s144 : i64 to index
        %i146 = arith.addi %row142, %const_0 : index
        %s147 = memref.load %start[%i146] : memref<?xi64>
        %i148 = arith.index_cast %s147 : i64 to index
        %i149 = arith.addi %row142, %const_3 : index
        %s150 = memref.load %start[%i149] : memref<?xi64>
        %i151 = arith.index_cast %s150 : i64 to index
        %i152 = arith.addi %row142, %const_4 : index
        %s153 = memref.load %start[%i152] : memref<?xi64>
        %i154 = arith.index_cast %s153 : i64 to index
        %i155 = arith.muli %row142, %const_3 : index
        %i156 = arith.muli %token140, %const_6 : index
        %r166:8 = scf.for %word157 = %const_2 to %const_3 step %const_0 iter_args(%a158 = %i145, %a159 = %i148, %a160 = %i151, %a161 = %i154, %a162 = %const_5, %a163 = %const_5, %a164 = %const_5, %a165 = %const_5) -> (index, index, index, index, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
          %i167 = arith.muli %word157, %const_8 : index
          %i168 = arith.addi %i156, %i167 : index
          %i169 = arith.addi %i168, %const_2 : index
          %x170 = vector.load %q[%i169] : memref<?xi8>, vector<64xi8>
          %i171 = arith.addi %i155, %const_2 : index
          %i172 = arith.addi %i171, %word157 : index
          %s173 = memref.load %masks[%i172] : memref<?xi64>
          %b174 = vector.broadcast %s173 : i64 to vector<1xi64>
          %m175 = vector.bitcast %b174 : vector<1xi64> to vector<64xi1>
          %i176 = arith.addi %a158, %const_9 : index
          memref.prefetch %values[%i176], read, locality<3>, data : memref<?xi8>
          %w177 = vector.expandload %values[%a158], %m175, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b178 = math.ctpop %s173 : i64
          %i179 = arith.index_castui %b178 : i64 to index
          %i180 = arith.addi %a158, %i179 : index
          %d181 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a162, %x170, %w177) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i182 = arith.addi %i155, %const_3 : index
          %i183 = arith.addi %i182, %word157 : index
          %s184 = memref.load %masks[%i183] : memref<?xi64>
          %b185 = vector.broadcast %s184 : i64 to vector<1xi64>
          %m186 = vector.bitcast %b185 : vector<1xi64> to vector<64xi1>
          %i187 = arith.addi %a159, %const_9 : index
          memref.prefetch %values[%i187], read, locality<3>, data : memref<?xi8>
          %w188 = vector.expandload %values[%a159], %m186, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b189 = math.ctpop %s184 : i64
          %i190 = arith.index_castui %b189 : i64 to index
          %i191 = arith.addi %a159, %i190 : index
          %d192 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a163, %x170, %w188) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i193 = arith.addi %i155, %const_1 : index
          %i194 = arith.addi %i193, %word157 : index
          %s195 = memref.load %masks[%i194] : memref<?xi64>
          %b196 = vector.broadcast %s195 : i64 to vector<1xi64>
          %m197 = vector.bitcast %b196 : vector<1xi64> to vector<64xi1>
          %i198 = arith.addi %a160, %const_9 : index
          memref.prefetch %values[%i198], read, locality<3>, data : memref<?xi8>
          %w199 = vector.expandload %values[%a160], %m197, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b200 = math.ctpop %s195 : i64
          %i201 = arith.index_castui %b200 : i64 to index
          %i202 = arith.addi %a160, %i201 : index
          %d203 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a164, %x170, %w199) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          %i204 = arith.addi %i155, %const_10 : index
          %i205 = arith.addi %i204, %word157 : index
          %s206 = memref.load %masks[%i205] : memref<?xi64>
          %b207 = vector.broadcast %s206 : i64 to vector<1xi64>
          %m208 = vector.bitcast %b207 : vector<1xi64> to vector<64xi1>
          %i209 = arith.addi %a161, %const_9 : index
          memref.prefetch %values[%i209], read, locality<3>, data : memref<?xi8>
          %w210 = vector.expandload %values[%a161], %m208, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
          %b211 = math.ctpop %s206 : i64
          %i212 = arith.index_castui %b211 : i64 to index
          %i213 = arith.addi %a161, %i212 : index
          %d214 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a165, %x170, %w210) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
          scf.yield %i180, %i191, %i202, %i213, %d181, %d192, %d203, %d214 : index, index, index, index, vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
        }
        %t215 = vector.shuffle %r166#4, %r166#5 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t216 = vector.shuffle %r166#4, %r166#5 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s217 = arith.addi %t215, %t216 : vector<16xi32>
        %t218 = vector.shuffle %r166#6, %r166#7 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
        %t219 = vector.shuffle %r166#6, %r166#7 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
        %s220 = arith.addi %t218, %t219 : vector<16xi32>
        %t221 = vector.shuffle %s217, %s220 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xi32>, vector<16xi32>
        %t222 = vector.shuffle %s217, %s220 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xi32>, vector<16xi32>
        %s223 = arith.addi %t221, %t222 : vector<16xi32>
        %t224 = vector.shuffle %s223, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
        %t225 = vector.shuffle %s223, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
        %s226 = arith.addi %t224, %t225 : vector<16xi32>
        %t227 = vector.shuffle %s226, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
        %t228 = vector.shuffle %s226, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
        %s229 = arith.addi %t227, %t228 : vector<16xi32>
        %x230 = vector.load %shift[%row142] : memref<?xi32>, vector<4xi32>
        %l231 = vector.shuffle %x230, %x230 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xi32>, vector<4xi32>
        %s232 = arith.addi %s229, %l231 : vector<16xi32>
        %y233 = arith.sitofp %s232 : vector<16xi32> to vector<16xf32>
        %x234 = vector.load %weight_scale[%row142] : memref<?xf32>, vector<4xf32>
        %l235 = vector.shuffle %x234, %x234 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
        %x236 = vector.load %x_scale[%token140] : memref<?xf32>, vector<1xf32>
        %l237 = vector.shuffle %x236, %x236 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
        %x238 = vector.load %bias[%row142] : memref<?xf32>, vector<4xf32>
        %l239 = vector.shuffle %x238, %x238 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
        %y240 = arith.mulf %y233, %l235 : vector<16xf32>
        %y241 = arith.mulf %y240, %l237 : vector<16xf32>
        %y242 = arith.addf %y241, %l239 : vector<16xf32>
        %m243 = arith.cmpf ogt, %const_11, %y242 : vector<16xf32>
        %e244 = arith.select %m243, %const_11, %y242 : vector<16xi1>, vector<16xf32>
        %y245 = vector.extract_strided_slice %e244 {offsets = [0], sizes = [4], strides = [1]} : vector<16xf32> to vector<4xf32>
        %i246 = arith.addi %token140, %const_2 : index
        %i247 = arith.muli %i246, %const_10 : index
        %i248 = arith.addi %i247, %row142 : index
        vector.store %y245, %y[%i248] : memref<?xf32>, vector<4xf32>
      }
    }
  }
  %p249 = arith.cmpi sgt, %block_hi, %const_0 : index
  scf.if %p249 {
    scf.for %row250 = %const_1 to %const_10 step %const_0 {
      %i251 = arith.subi %m, %const_2 : index
      %i252 = arith.divui %i251, %const_3 : index
      %i253 = arith.muli %i252, %const_3 : index
      %i254 = arith.addi %const_2, %i253 : index
      scf.for %token255 = %const_2 to %i254 step %const_3 {
        %i256 = arith.addi %row250, %const_0 : index
        scf.for %row257 = %row250 to %i256 step %const_0 {
          %i258 = arith.addi %row257, %const_2 : index
          %s259 = memref.load %start[%i258] : memref<?xi64>
          %i260 = arith.index_cast %s259 : i64 to index
          %i261 = arith.muli %row257, %const_3 : index
          %i262 = arith.muli %token255, %const_6 : index
          %r267:3 = scf.for %word263 = %const_2 to %const_3 step %const_0 iter_args(%a264 = %i260, %a265 = %const_5, %a266 = %const_5) -> (index, vector<16xi32>, vector<16xi32>) {
            %i268 = arith.muli %word263, %const_8 : index
            %i269 = arith.addi %i262, %i268 : index
            %i270 = arith.addi %i269, %const_2 : index
            %x271 = vector.load %q[%i270] : memref<?xi8>, vector<64xi8>
            %i272 = arith.addi %i269, %const_6 : index
            %x273 = vector.load %q[%i272] : memref<?xi8>, vector<64xi8>
            %i274 = arith.addi %i261, %const_2 : index
            %i275 = arith.addi %i274, %word263 : index
            %s276 = memref.load %masks[%i275] : memref<?xi64>
            %b277 = vector.broadcast %s276 : i64 to vector<1xi64>
            %m278 = vector.bitcast %b277 : vector<1xi64> to vector<64xi1>
            %i279 = arith.addi %a264, %const_9 : index
            memref.prefetch %values[%i279], read, locality<3>, data : memref<?xi8>
            %w280 = vector.expandload %values[%a264], %m278, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
            %b281 = math.ctpop %s276 : i64
            %i282 = arith.index_castui %b281 : i64 to index
            %i283 = arith.addi %a264, %i282 : index
            %d284 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a265, %x271, %w280) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
            %d285 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a266, %x273, %w280) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
            scf.yield %i283, %d284, %d285 : index, vector<16xi32>, vector<16xi32>
          }
          %t286 = vector.shuffle %r267#1, %r267#2 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
          %t287 = vector.shuffle %r267#1, %r267#2 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
          %s288 = arith.addi %t286, %t287 : vector<16xi32>
          %t289 = vector.shuffle %s288, %const_5 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xi32>, vector<16xi32>
          %t290 = vector.shuffle %s288, %const_5 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xi32>, vector<16xi32>
          %s291 = arith.addi %t289, %t290 : vector<16xi32>
          %t292 = vector.shuffle %s291, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
          %t293 = vector.shuffle %s291, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
          %s294 = arith.addi %t292, %t293 : vector<16xi32>
          %t295 = vector.shuffle %s294, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
          %t296 = vector.shuffle %s294, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
          %s297 = arith.addi %t295, %t296 : vector<16xi32>
          %x298 = vector.load %shift[%row257] : memref<?xi32>, vector<1xi32>
          %l299 = vector.shuffle %x298, %x298 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xi32>, vector<1xi32>
          %s300 = arith.addi %s297, %l299 : vector<16xi32>
          %y301 = arith.sitofp %s300 : vector<16xi32> to vector<16xf32>
          %x302 = vector.load %weight_scale[%row257] : memref<?xf32>, vector<1xf32>
          %l303 = vector.shuffle %x302, %x302 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
          %x304 = vector.load %x_scale[%token255] : memref<?xf32>, vector<2xf32>
          %l305 = vector.shuffle %x304, %x304 [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] : vector<2xf32>, vector<2xf32>
          %x306 = vector.load %bias[%row257] : memref<?xf32>, vector<1xf32>
          %l307 = vector.shuffle %x306, %x306 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
          %y308 = arith.mulf %y301, %l303 : vector<16xf32>
          %y309 = arith.mulf %y308, %l305 : vector<16xf32>
          %y310 = arith.addf %y309, %l307 : vector<16xf32>
          %m311 = arith.cmpf ogt, %const_11, %y310 : vector<16xf32>
          %e312 = arith.select %m311, %const_11, %y310 : vector<16xi1>, vector<16xf32>
          %y313 = vector.extract_strided_slice %e312 {offsets = [0], sizes = [1], strides = [1]} : vector<16xf32> to vector<1xf32>
          %i314 = arith.addi %token255, %const_2 : index
          %i315 = arith.muli %i314, %const_10 : index
          %i316 = arith.addi %i315, %row257 : index
          vector.store %y313, %y[%i316] : memref<?xf32>, vector<1xf32>
          %y317 = vector.extract_strided_slice %e312 {offsets = [1], sizes = [1], strides = [1]} : vector<16xf32> to vector<1xf32>
          %i318 = arith.addi %token255, %const_0 : index
          %i319 = arith.muli %i318, %const_10 : index
          %i320 = arith.addi %i319, %row257 : index
          vector.store %y317, %y[%i320] : memref<?xf32>, vector<1xf32>
        }
      }
      scf.for %token321 = %i254 to %m step %const_0 {
        %i322 = arith.addi %row250, %const_0 : index
        scf.for %row323 = %row250 to %i322 step %const_0 {
          %i324 = arith.addi %row323, %const_2 : index
          %s325 = memref.load %start[%i324] : memref<?xi64>
          %i326 = arith.index_cast %s325 : i64 to index
          %i327 = arith.muli %row323, %const_3 : index
          %i328 = arith.muli %token321, %const_6 : index
          %r332:2 = scf.for %word329 = %const_2 to %const_3 step %const_0 iter_args(%a330 = %i326, %a331 = %const_5) -> (index, vector<16xi32>) {
            %i333 = arith.muli %word329, %const_8 : index
            %i334 = arith.addi %i328, %i333 : index
            %i335 = arith.addi %i334, %const_2 : index
            %x336 = vector.load %q[%i335] : memref<?xi8>, vector<64xi8>
            %i337 = arith.addi %i327, %const_2 : index
            %i338 = arith.addi %i337, %word329 : index
            %s339 = memref.load %masks[%i338] : memref<?xi64>
            %b340 = vector.broadcast %s339 : i64 to vector<1xi64>
            %m341 = vector.bitcast %b340 : vector<1xi64> to vector<64xi1>
            %i342 = arith.addi %a330, %const_9 : index
            memref.prefetch %values[%i342], read, locality<3>, data : memref<?xi8>
            %w343 = vector.expandload %values[%a330], %m341, %const_7 : memref<?xi8>, vector<64xi1>, vector<64xi8> into vector<64xi8>
            %b344 = math.ctpop %s339 : i64
            %i345 = arith.index_castui %b344 : i64 to index
            %i346 = arith.addi %a330, %i345 : index
            %d347 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a331, %x336, %w343) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
            scf.yield %i346, %d347 : index, vector<16xi32>
          }
          %t348 = vector.shuffle %r332#1, %const_5 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xi32>, vector<16xi32>
          %t349 = vector.shuffle %r332#1, %const_5 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xi32>, vector<16xi32>
          %s350 = arith.addi %t348, %t349 : vector<16xi32>
          %t351 = vector.shuffle %s350, %const_5 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xi32>, vector<16xi32>
          %t352 = vector.shuffle %s350, %const_5 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xi32>, vector<16xi32>
          %s353 = arith.addi %t351, %t352 : vector<16xi32>
          %t354 = vector.shuffle %s353, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
          %t355 = vector.shuffle %s353, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
          %s356 = arith.addi %t354, %t355 : vector<16xi32>
          %t357 = vector.shuffle %s356, %const_5 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xi32>, vector<16xi32>
          %t358 = vector.shuffle %s356, %const_5 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xi32>, vector<16xi32>
          %s359 = arith.addi %t357, %t358 : vector<16xi32>
          %x360 = vector.load %shift[%row323] : memref<?xi32>, vector<1xi32>
          %l361 = vector.shuffle %x360, %x360 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xi32>, vector<1xi32>
          %s362 = arith.addi %s359, %l361 : vector<16xi32>
          %y363 = arith.sitofp %s362 : vector<16xi32> to vector<16xf32>
          %x364 = vector.load %weight_scale[%row323] : memref<?xf32>, vector<1xf32>
          %l365 = vector.shuffle %x364, %x364 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
          %x366 = vector.load %x_scale[%token321] : memref<?xf32>, vector<1xf32>
          %l367 = vector.shuffle %x366, %x366 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
          %x368 = vector.load %bias[%row323] : memref<?xf32>, vector<1xf32>
          %l369 = vector.shuffle %x368, %x368 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] : vector<1xf32>, vector<1xf32>
          %y370 = arith.mulf %y363, %l365 : vector<16xf32>
          %y371 = arith.mulf %y370, %l367 : vector<16xf32>
          %y372 = arith.addf %y371, %l369 : vector<16xf32>
          %m373 = arith.cmpf ogt, %const_11, %y372 : vector<16xf32>
          %e374 = arith.select %m373, %const_11, %y372 : vector<16xi1>, vector<16xf32>
          %y375 = vector.extract_strided_slice %e374 {offsets = [0], sizes = [1], strides = [1]} : vector<16xf32> to vector<1xf32>
          %i376 = arith.addi %token321, %const_2 : index
          %i377 = arith.muli %i376, %const_10 : index
          %i378 = arith.addi %i377, %row323 : index
          vector.store %y375, %y[%i378] : memref<?xf32>, vector<1xf32>
        }
      }
    }
  }
  return
}
