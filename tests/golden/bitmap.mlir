func.func @_mlir_bitmap(%x_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %masks_ptr: memref<1xi16>, %start_ptr: memref<1xi64>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %block_lo: index, %block_hi: index) {
  %const_0 = arith.constant 9 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant 4 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 2 : index
  %const_5 = arith.constant 3 : index
  %const_6 = arith.constant dense<0.0> : vector<16xf32>
  %const_7 = arith.constant 12 : index
  %const_8 = arith.constant 160 : index
  %const_9 = arith.constant 10 : index
  %const_10 = arith.constant 16 : index
  %const_11 = arith.constant 1024 : index
  %const_12 = arith.constant 24 : index
  %const_13 = arith.constant 36 : index
  %const_14 = arith.constant 0.0 : f32
  %const_15 = arith.constant 37 : index
  %const_16 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xf32> to memref<?xf32>
  %masks = memref.reinterpret_cast %masks_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi16> to memref<?xi16>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xi64> to memref<?xi64>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_16], strides: [1] : memref<1xf32> to memref<?xf32>
  %i1 = arith.minsi %block_hi, %const_0 : index
  scf.for %block2 = %block_lo to %i1 step %const_1 {
    %i3 = arith.muli %block2, %const_2 : index
    %i4 = arith.subi %m, %const_3 : index
    %i5 = arith.divui %i4, %const_4 : index
    %i6 = arith.muli %i5, %const_4 : index
    %i7 = arith.addi %const_3, %i6 : index
    scf.for %token8 = %const_3 to %i7 step %const_4 {
      %i9 = arith.addi %i3, %const_2 : index
      scf.for %row10 = %i3 to %i9 step %const_2 {
        %i11 = arith.addi %row10, %const_3 : index
        %s12 = memref.load %start[%i11] : memref<?xi64>
        %i13 = arith.index_cast %s12 : i64 to index
        %i14 = arith.addi %row10, %const_1 : index
        %s15 = memref.load %start[%i14] : memref<?xi64>
        %i16 = arith.index_cast %s15 : i64 to index
        %i17 = arith.addi %row10, %const_4 : index
        %s18 = memref.load %start[%i17] : memref<?xi64>
        %i19 = arith.index_cast %s18 : i64 to index
        %i20 = arith.addi %row10, %const_5 : index
        %s21 = memref.load %start[%i20] : memref<?xi64>
        %i22 = arith.index_cast %s21 : i64 to index
        %i23 = arith.muli %row10, %const_7 : index
        %i24 = arith.muli %token8, %const_8 : index
        %r38:12 = scf.for %word25 = %const_3 to %const_9 step %const_1 iter_args(%a26 = %i13, %a27 = %i16, %a28 = %i19, %a29 = %i22, %a30 = %const_6, %a31 = %const_6, %a32 = %const_6, %a33 = %const_6, %a34 = %const_6, %a35 = %const_6, %a36 = %const_6, %a37 = %const_6) -> (index, index, index, index, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
          %i39 = arith.muli %word25, %const_10 : index
          %i40 = arith.addi %i24, %i39 : index
          %i41 = arith.addi %i40, %const_3 : index
          %x42 = vector.load %x[%i41] : memref<?xf32>, vector<16xf32>
          %i43 = arith.addi %i40, %const_8 : index
          %x44 = vector.load %x[%i43] : memref<?xf32>, vector<16xf32>
          %i45 = arith.addi %i23, %const_3 : index
          %i46 = arith.addi %i45, %word25 : index
          %s47 = memref.load %masks[%i46] : memref<?xi16>
          %b48 = vector.broadcast %s47 : i16 to vector<1xi16>
          %m49 = vector.bitcast %b48 : vector<1xi16> to vector<16xi1>
          %i50 = arith.addi %a26, %const_11 : index
          memref.prefetch %values[%i50], read, locality<3>, data : memref<?xf32>
          %w51 = vector.expandload %values[%a26], %m49, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b52 = math.ctpop %s47 : i16
          %i53 = arith.index_castui %b52 : i16 to index
          %i54 = arith.addi %a26, %i53 : index
          %f55 = vector.fma %w51, %x42, %a30 : vector<16xf32>
          %f56 = arith.select %m49, %f55, %a30 : vector<16xi1>, vector<16xf32>
          %f57 = vector.fma %w51, %x44, %a31 : vector<16xf32>
          %f58 = arith.select %m49, %f57, %a31 : vector<16xi1>, vector<16xf32>
          %i59 = arith.addi %i23, %const_7 : index
          %i60 = arith.addi %i59, %word25 : index
          %s61 = memref.load %masks[%i60] : memref<?xi16>
          %b62 = vector.broadcast %s61 : i16 to vector<1xi16>
          %m63 = vector.bitcast %b62 : vector<1xi16> to vector<16xi1>
          %i64 = arith.addi %a27, %const_11 : index
          memref.prefetch %values[%i64], read, locality<3>, data : memref<?xf32>
          %w65 = vector.expandload %values[%a27], %m63, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b66 = math.ctpop %s61 : i16
          %i67 = arith.index_castui %b66 : i16 to index
          %i68 = arith.addi %a27, %i67 : index
          %f69 = vector.fma %w65, %x42, %a32 : vector<16xf32>
          %f70 = arith.select %m63, %f69, %a32 : vector<16xi1>, vector<16xf32>
          %f71 = vector.fma %w65, %x44, %a33 : vector<16xf32>
          %f72 = arith.select %m63, %f71, %a33 : vector<16xi1>, vector<16xf32>
          %i73 = arith.addi %i23, %const_12 : index
          %i74 = arith.addi %i73, %word25 : index
          %s75 = memref.load %masks[%i74] : memref<?xi16>
          %b76 = vector.broadcast %s75 : i16 to vector<1xi16>
          %m77 = vector.bitcast %b76 : vector<1xi16> to vector<16xi1>
          %i78 = arith.addi %a28, %const_11 : index
          memref.prefetch %values[%i78], read, locality<3>, data : memref<?xf32>
          %w79 = vector.expandload %values[%a28], %m77, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b80 = math.ctpop %s75 : i16
          %i81 = arith.index_castui %b80 : i16 to index
          %i82 = arith.addi %a28, %i81 : index
          %f83 = vector.fma %w79, %x42, %a34 : vector<16xf32>
          %f84 = arith.select %m77, %f83, %a34 : vector<16xi1>, vector<16xf32>
          %f85 = vector.fma %w79, %x44, %a35 : vector<16xf32>
          %f86 = arith.select %m77, %f85, %a35 : vector<16xi1>, vector<16xf32>
          %i87 = arith.addi %i23, %const_13 : index
          %i88 = arith.addi %i87, %word25 : index
          %s89 = memref.load %masks[%i88] : memref<?xi16>
          %b90 = vector.broadcast %s89 : i16 to vector<1xi16>
          %m91 = vector.bitcast %b90 : vector<1xi16> to vector<16xi1>
          %i92 = arith.addi %a29, %const_11 : index
          memref.prefetch %values[%i92], read, locality<3>, data : memref<?xf32>
          %w93 = vector.expandload %values[%a29], %m91, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b94 = math.ctpop %s89 : i16
          %i95 = arith.index_castui %b94 : i16 to index
          %i96 = arith.addi %a29, %i95 : index
          %f97 = vector.fma %w93, %x42, %a36 : vector<16xf32>
          %f98 = arith.select %m91, %f97, %a36 : vector<16xi1>, vector<16xf32>
          %f99 = vector.fma %w93, %x44, %a37 : vector<16xf32>
          %f100 = arith.select %m91, %f99, %a37 : vector<16xi1>, vector<16xf32>
          scf.yield %i54, %i68, %i82, %i96, %f56, %f58, %f70, %f72, %f84, %f86, %f98, %f100 : index, index, index, index, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
        }
        %i101 = arith.addi %row10, %const_3 : index
        %s102 = memref.load %bias[%i101] : memref<?xf32>
        %s103 = vector.reduction <add>, %r38#4 fastmath<reassoc> : vector<16xf32> into f32
        %s104 = arith.addf %s103, %s102 : f32
        %s105 = vector.reduction <add>, %r38#5 fastmath<reassoc> : vector<16xf32> into f32
        %s106 = arith.addf %s105, %s102 : f32
        %i107 = arith.addi %row10, %const_1 : index
        %s108 = memref.load %bias[%i107] : memref<?xf32>
        %s109 = vector.reduction <add>, %r38#6 fastmath<reassoc> : vector<16xf32> into f32
        %s110 = arith.addf %s109, %s108 : f32
        %s111 = vector.reduction <add>, %r38#7 fastmath<reassoc> : vector<16xf32> into f32
        %s112 = arith.addf %s111, %s108 : f32
        %i113 = arith.addi %row10, %const_4 : index
        %s114 = memref.load %bias[%i113] : memref<?xf32>
        %s115 = vector.reduction <add>, %r38#8 fastmath<reassoc> : vector<16xf32> into f32
        %s116 = arith.addf %s115, %s114 : f32
        %s117 = vector.reduction <add>, %r38#9 fastmath<reassoc> : vector<16xf32> into f32
        %s118 = arith.addf %s117, %s114 : f32
        %i119 = arith.addi %row10, %const_5 : index
        %s120 = memref.load %bias[%i119] : memref<?xf32>
        %s121 = vector.reduction <add>, %r38#10 fastmath<reassoc> : vector<16xf32> into f32
        %s122 = arith.addf %s121, %s120 : f32
        %s123 = vector.reduction <add>, %r38#11 fastmath<reassoc> : vector<16xf32> into f32
        %s124 = arith.addf %s123, %s120 : f32
        %y125 = vector.from_elements %s104, %s106, %s110, %s112, %s116, %s118, %s122, %s124, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14 : vector<16xf32>
        %m126 = arith.cmpf ogt, %const_6, %y125 : vector<16xf32>
        %e127 = arith.select %m126, %const_6, %y125 : vector<16xi1>, vector<16xf32>
        %s128 = vector.extract %e127[0] : f32 from vector<16xf32>
        %s129 = vector.extract %e127[1] : f32 from vector<16xf32>
        %s130 = vector.extract %e127[2] : f32 from vector<16xf32>
        %s131 = vector.extract %e127[3] : f32 from vector<16xf32>
        %s132 = vector.extract %e127[4] : f32 from vector<16xf32>
        %s133 = vector.extract %e127[5] : f32 from vector<16xf32>
        %s134 = vector.extract %e127[6] : f32 from vector<16xf32>
        %s135 = vector.extract %e127[7] : f32 from vector<16xf32>
        %i136 = arith.addi %token8, %const_3 : index
        %i137 = arith.muli %i136, %const_15 : index
        %i138 = arith.addi %row10, %const_3 : index
        %i139 = arith.addi %i137, %i138 : index
        memref.store %s128, %y[%i139] : memref<?xf32>
        %i140 = arith.addi %token8, %const_1 : index
        %i141 = arith.muli %i140, %const_15 : index
        %i142 = arith.addi %row10, %const_3 : index
        %i143 = arith.addi %i141, %i142 : index
        memref.store %s129, %y[%i143] : memref<?xf32>
        %i144 = arith.addi %token8, %const_3 : index
        %i145 = arith.muli %i144, %const_15 : index
        %i146 = arith.addi %row10, %const_1 : index
        %i147 = arith.addi %i145, %i146 : index
        memref.store %s130, %y[%i147] : memref<?xf32>
        %i148 = arith.addi %token8, %const_1 : index
        %i149 = arith.muli %i148, %const_15 : index
        %i150 = arith.addi %row10, %const_1 : index
        %i151 = arith.addi %i149, %i150 : index
        memref.store %s131, %y[%i151] : memref<?xf32>
        %i152 = arith.addi %token8, %const_3 : index
        %i153 = arith.muli %i152, %const_15 : index
        %i154 = arith.addi %row10, %const_4 : index
        %i155 = arith.addi %i153, %i154 : index
        memref.store %s132, %y[%i155] : memref<?xf32>
        %i156 = arith.addi %token8, %const_1 : index
        %i157 = arith.muli %i156, %const_15 : index
        %i158 = arith.addi %row10, %const_4 : index
        %i159 = arith.addi %i157, %i158 : index
        memref.store %s133, %y[%i159] : memref<?xf32>
        %i160 = arith.addi %token8, %const_3 : index
        %i161 = arith.muli %i160, %const_15 : index
        %i162 = arith.addi %row10, %const_5 : index
        %i163 = arith.addi %i161, %i162 : index
        memref.store %s134, %y[%i163] : memref<?xf32>
        %i164 = arith.addi %token8, %const_1 : index
        %i165 = arith.muli %i164, %const_15 : index
        %i166 = arith.addi %row10, %const_5 : index
        %i167 = arith.addi %i165, %i166 : index
        memref.store %s135, %y[%i167] : memref<?xf32>
      }
    }
    scf.for %token168 = %i7 to %m step %const_1 {
      %i169 = arith.addi %i3, %const_2 : index
      scf.for %row170 = %i3 to %i169 step %const_2 {
        %i171 = arith.addi %row170, %const_3 : index
        %s172 = memref.load %start[%i171] : memref<?xi64>
        %i173 = arith.index_cast %s172 : i64 to index
        %i174 = arith.addi %row170, %const_1 : index
        %s175 = memref.load %start[%i174] : memref<?xi64>
        %i176 = arith.index_cast %s175 : i64 to index
        %i177 = arith.addi %row170, %const_4 : index
        %s178 = memref.load %start[%i177] : memref<?xi64>
        %i179 = arith.index_cast %s178 : i64 to index
        %i180 = arith.addi %row170, %const_5 : index
        %s181 = memref.load %start[%i180] : memref<?xi64>
        %i182 = arith.index_cast %s181 : i64 to index
        %i183 = arith.muli %row170, %const_7 : index
        %i184 = arith.muli %token168, %const_8 : index
        %r194:8 = scf.for %word185 = %const_3 to %const_9 step %const_1 iter_args(%a186 = %i173, %a187 = %i176, %a188 = %i179, %a189 = %i182, %a190 = %const_6, %a191 = %const_6, %a192 = %const_6, %a193 = %const_6) -> (index, index, index, index, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
          %i195 = arith.muli %word185, %const_10 : index
          %i196 = arith.addi %i184, %i195 : index
          %i197 = arith.addi %i196, %const_3 : index
          %x198 = vector.load %x[%i197] : memref<?xf32>, vector<16xf32>
          %i199 = arith.addi %i183, %const_3 : index
          %i200 = arith.addi %i199, %word185 : index
          %s201 = memref.load %masks[%i200] : memref<?xi16>
          %b202 = vector.broadcast %s201 : i16 to vector<1xi16>
          %m203 = vector.bitcast %b202 : vector<1xi16> to vector<16xi1>
          %i204 = arith.addi %a186, %const_11 : index
          memref.prefetch %values[%i204], read, locality<3>, data : memref<?xf32>
          %w205 = vector.expandload %values[%a186], %m203, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b206 = math.ctpop %s201 : i16
          %i207 = arith.index_castui %b206 : i16 to index
          %i208 = arith.addi %a186, %i207 : index
          %f209 = vector.fma %w205, %x198, %a190 : vector<16xf32>
          %f210 = arith.select %m203, %f209, %a190 : vector<16xi1>, vector<16xf32>
          %i211 = arith.addi %i183, %const_7 : index
          %i212 = arith.addi %i211, %word185 : index
          %s213 = memref.load %masks[%i212] : memref<?xi16>
          %b214 = vector.broadcast %s213 : i16 to vector<1xi16>
          %m215 = vector.bitcast %b214 : vector<1xi16> to vector<16xi1>
          %i216 = arith.addi %a187, %const_11 : index
          memref.prefetch %values[%i216], read, locality<3>, data : memref<?xf32>
          %w217 = vector.expandload %values[%a187], %m215, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b218 = math.ctpop %s213 : i16
          %i219 = arith.index_castui %b218 : i16 to index
          %i220 = arith.addi %a187, %i219 : index
          %f221 = vector.fma %w217, %x198, %a191 : vector<16xf32>
          %f222 = arith.select %m215, %f221, %a191 : vector<16xi1>, vector<16xf32>
          %i223 = arith.addi %i183, %const_12 : index
          %i224 = arith.addi %i223, %word185 : index
          %s225 = memref.load %masks[%i224] : memref<?xi16>
          %b226 = vector.broadcast %s225 : i16 to vector<1xi16>
          %m227 = vector.bitcast %b226 : vector<1xi16> to vector<16xi1>
          %i228 = arith.addi %a188, %const_11 : index
          memref.prefetch %values[%i228], read, locality<3>, data : memref<?xf32>
          %w229 = vector.expandload %values[%a188], %m227, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b230 = math.ctpop %s225 : i16
          %i231 = arith.index_castui %b230 : i16 to index
          %i232 = arith.addi %a188, %i231 : index
          %f233 = vector.fma %w229, %x198, %a192 : vector<16xf32>
          %f234 = arith.select %m227, %f233, %a192 : vector<16xi1>, vector<16xf32>
          %i235 = arith.addi %i183, %const_13 : index
          %i236 = arith.addi %i235, %word185 : index
          %s237 = memref.load %masks[%i236] : memref<?xi16>
          %b238 = vector.broadcast %s237 : i16 to vector<1xi16>
          %m239 = vector.bitcast %b238 : vector<1xi16> to vector<16xi1>
          %i240 = arith.addi %a189, %const_11 : index
          memref.prefetch %values[%i240], read, locality<3>, data : memref<?xf32>
          %w241 = vector.expandload %values[%a189], %m239, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %b242 = math.ctpop %s237 : i16
          %i243 = arith.index_castui %b242 : i16 to index
          %i244 = arith.addi %a189, %i243 : index
          %f245 = vector.fma %w241, %x198, %a193 : vector<16xf32>
          %f246 = arith.select %m239, %f245, %a193 : vector<16xi1>, vector<16xf32>
          scf.yield %i208, %i220, %i232, %i244, %f210, %f222, %f234, %f246 : index, index, index, index, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
        }
        %i247 = arith.addi %row170, %const_3 : index
        %s248 = memref.load %bias[%i247] : memref<?xf32>
        %s249 = vector.reduction <add>, %r194#4 fastmath<reassoc> : vector<16xf32> into f32
        %s250 = arith.addf %s249, %s248 : f32
        %i251 = arith.addi %row170, %const_1 : index
        %s252 = memref.load %bias[%i251] : memref<?xf32>
        %s253 = vector.reduction <add>, %r194#5 fastmath<reassoc> : vector<16xf32> into f32
        %s254 = arith.addf %s253, %s252 : f32
        %i255 = arith.addi %row170, %const_4 : index
        %s256 = memref.load %bias[%i255] : memref<?xf32>
        %s257 = vector.reduction <add>, %r194#6 fastmath<reassoc> : vector<16xf32> into f32
        %s258 = arith.addf %s257, %s256 : f32
        %i259 = arith.addi %row170, %const_5 : index
        %s260 = memref.load %bias[%i259] : memref<?xf32>
        %s261 = vector.reduction <add>, %r194#7 fastmath<reassoc> : vector<16xf32> into f32
        %s262 = arith.addf %s261, %s260 : f32
        %y263 = vector.from_elements %s250, %s254, %s258, %s262, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14 : vector<16xf32>
        %m264 = arith.cmpf ogt, %const_6, %y263 : vector<16xf32>
        %e265 = arith.select %m264, %const_6, %y263 : vector<16xi1>, vector<16xf32>
        %s266 = vector.extract %e265[0] : f32 from vector<16xf32>
        %s267 = vector.extract %e265[1] : f32 from vector<16xf32>
        %s268 = vector.extract %e265[2] : f32 from vector<16xf32>
        %s269 = vector.extract %e265[3] : f32 from vector<16xf32>
        %i270 = arith.addi %token168, %const_3 : index
        %i271 = arith.muli %i270, %const_15 : index
        %i272 = arith.addi %row170, %const_3 : index
        %i273 = arith.addi %i271, %i272 : index
        memref.store %s266, %y[%i273] : memref<?xf32>
        %i274 = arith.addi %token168, %const_3 : index
        %i275 = arith.muli %i274, %const_15 : index
        %i276 = arith.addi %row170, %const_1 : index
        %i277 = arith.addi %i275, %i276 : index
        memref.store %s267, %y[%i277] : memref<?xf32>
        %i278 = arith.addi %token168, %const_3 : index
        %i279 = arith.muli %i278, %const_15 : index
        %i280 = arith.addi %row170, %const_4 : index
        %i281 = arith.addi %i279, %i280 : index
        memref.store %s268, %y[%i281] : memref<?xf32>
        %i282 = arith.addi %token168, %const_3 : index
        %i283 = arith.muli %i282, %const_15 : index
        %i284 = arith.addi %row170, %const_5 : index
        %i285 = arith.addi %i283, %i284 : index
        memref.store %s269, %y[%i285] : memref<?xf32>
      }
    }
  }
  %p286 = arith.cmpi sgt, %block_hi, %const_0 : index
  scf.if %p286 {
    scf.for %row287 = %const_13 to %const_15 step %const_1 {
      %i288 = arith.subi %m, %const_3 : index
      %i289 = arith.divui %i288, %const_4 : index
      %i290 = arith.muli %i289, %const_4 : index
      %i291 = arith.addi %const_3, %i290 : index
      scf.for %token292 = %const_3 to %i291 step %const_4 {
        %i293 = arith.addi %row287, %const_1 : index
        scf.for %row294 = %row287 to %i293 step %const_1 {
          %i295 = arith.addi %row294, %const_3 : index
          %s296 = memref.load %start[%i295] : memref<?xi64>
          %i297 = arith.index_cast %s296 : i64 to index
          %i298 = arith.muli %row294, %const_7 : index
          %i299 = arith.muli %token292, %const_8 : index
          %r304:3 = scf.for %word300 = %const_3 to %const_9 step %const_1 iter_args(%a301 = %i297, %a302 = %const_6, %a303 = %const_6) -> (index, vector<16xf32>, vector<16xf32>) {
            %i305 = arith.muli %word300, %const_10 : index
            %i306 = arith.addi %i299, %i305 : index
            %i307 = arith.addi %i306, %const_3 : index
            %x308 = vector.load %x[%i307] : memref<?xf32>, vector<16xf32>
            %i309 = arith.addi %i306, %const_8 : index
            %x310 = vector.load %x[%i309] : memref<?xf32>, vector<16xf32>
            %i311 = arith.addi %i298, %const_3 : index
            %i312 = arith.addi %i311, %word300 : index
            %s313 = memref.load %masks[%i312] : memref<?xi16>
            %b314 = vector.broadcast %s313 : i16 to vector<1xi16>
            %m315 = vector.bitcast %b314 : vector<1xi16> to vector<16xi1>
            %i316 = arith.addi %a301, %const_11 : index
            memref.prefetch %values[%i316], read, locality<3>, data : memref<?xf32>
            %w317 = vector.expandload %values[%a301], %m315, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
            %b318 = math.ctpop %s313 : i16
            %i319 = arith.index_castui %b318 : i16 to index
            %i320 = arith.addi %a301, %i319 : index
            %f321 = vector.fma %w317, %x308, %a302 : vector<16xf32>
            %f322 = arith.select %m315, %f321, %a302 : vector<16xi1>, vector<16xf32>
            %f323 = vector.fma %w317, %x310, %a303 : vector<16xf32>
            %f324 = arith.select %m315, %f323, %a303 : vector<16xi1>, vector<16xf32>
            scf.yield %i320, %f322, %f324 : index, vector<16xf32>, vector<16xf32>
          }
          %i325 = arith.addi %row294, %const_3 : index
          %s326 = memref.load %bias[%i325] : memref<?xf32>
          %s327 = vector.reduction <add>, %r304#1 fastmath<reassoc> : vector<16xf32> into f32
          %s328 = arith.addf %s327, %s326 : f32
          %s329 = vector.reduction <add>, %r304#2 fastmath<reassoc> : vector<16xf32> into f32
          %s330 = arith.addf %s329, %s326 : f32
          %y331 = vector.from_elements %s328, %s330, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14 : vector<16xf32>
          %m332 = arith.cmpf ogt, %const_6, %y331 : vector<16xf32>
          %e333 = arith.select %m332, %const_6, %y331 : vector<16xi1>, vector<16xf32>
          %s334 = vector.extract %e333[0] : f32 from vector<16xf32>
          %s335 = vector.extract %e333[1] : f32 from vector<16xf32>
          %i336 = arith.addi %token292, %const_3 : index
          %i337 = arith.muli %i336, %const_15 : index
          %i338 = arith.addi %row294, %const_3 : index
          %i339 = arith.addi %i337, %i338 : index
          memref.store %s334, %y[%i339] : memref<?xf32>
          %i340 = arith.addi %token292, %const_1 : index
          %i341 = arith.muli %i340, %const_15 : index
          %i342 = arith.addi %row294, %const_3 : index
          %i343 = arith.addi %i341, %i342 : index
          memref.store %s335, %y[%i343] : memref<?xf32>
        }
      }
      scf.for %token344 = %i291 to %m step %const_1 {
        %i345 = arith.addi %row287, %const_1 : index
        scf.for %row346 = %row287 to %i345 step %const_1 {
          %i347 = arith.addi %row346, %const_3 : index
          %s348 = memref.load %start[%i347] : memref<?xi64>
          %i349 = arith.index_cast %s348 : i64 to index
          %i350 = arith.muli %row346, %const_7 : index
          %i351 = arith.muli %token344, %const_8 : index
          %r355:2 = scf.for %word352 = %const_3 to %const_9 step %const_1 iter_args(%a353 = %i349, %a354 = %const_6) -> (index, vector<16xf32>) {
            %i356 = arith.muli %word352, %const_10 : index
            %i357 = arith.addi %i351, %i356 : index
            %i358 = arith.addi %i357, %const_3 : index
            %x359 = vector.load %x[%i358] : memref<?xf32>, vector<16xf32>
            %i360 = arith.addi %i350, %const_3 : index
            %i361 = arith.addi %i360, %word352 : index
            %s362 = memref.load %masks[%i361] : memref<?xi16>
            %b363 = vector.broadcast %s362 : i16 to vector<1xi16>
            %m364 = vector.bitcast %b363 : vector<1xi16> to vector<16xi1>
            %i365 = arith.addi %a353, %const_11 : index
            memref.prefetch %values[%i365], read, locality<3>, data : memref<?xf32>
            %w366 = vector.expandload %values[%a353], %m364, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
            %b367 = math.ctpop %s362 : i16
            %i368 = arith.index_castui %b367 : i16 to index
            %i369 = arith.addi %a353, %i368 : index
            %f370 = vector.fma %w366, %x359, %a354 : vector<16xf32>
            %f371 = arith.select %m364, %f370, %a354 : vector<16xi1>, vector<16xf32>
            scf.yield %i369, %f371 : index, vector<16xf32>
          }
          %i372 = arith.addi %row346, %const_3 : index
          %s373 = memref.load %bias[%i372] : memref<?xf32>
          %s374 = vector.reduction <add>, %r355#1 fastmath<reassoc> : vector<16xf32> into f32
          %s375 = arith.addf %s374, %s373 : f32
          %y376 = vector.from_elements %s375, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14, %const_14 : vector<16xf32>
          %m377 = arith.cmpf ogt, %const_6, %y376 : vector<16xf32>
          %e378 = arith.select %m377, %const_6, %y376 : vector<16xi1>, vector<16xf32>
          %s379 = vector.extract %e378[0] : f32 from vector<16xf32>
          %i380 = arith.addi %token344, %const_3 : index
          %i381 = arith.muli %i380, %const_15 : index
          %i382 = arith.addi %row346, %const_3 : index
          %i383 = arith.addi %i381, %i382 : index
          memref.store %s379, %y[%i383] : memref<?xf32>
        }
      }
    }
  }
  return
}
