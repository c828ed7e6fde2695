func.func @_mlir_sell(%xs_ptr: memref<1xf32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %columns_ptr: memref<1xi8>, %lengths_ptr: memref<1xi8>, %order_ptr: memref<1xi8>, %rest_rows_ptr: memref<1xi8>, %start_ptr: memref<1xi64>, %rest_start_ptr: memref<1xi64>, %tile_lo: index, %tile_hi: index, %window_lo: index, %window_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 1280 : index
  %const_2 = arith.constant 512 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 1024 : index
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant 4 : index
  %const_7 = arith.constant 28 : index
  %const_8 = arith.constant 16 : index
  %const_9 = arith.constant 8 : index
  %const_10 = arith.constant 3 : index
  %const_11 = arith.constant 5 : index
  %const_12 = arith.constant 6 : index
  %const_13 = arith.constant 7 : index
  %const_14 = arith.constant dense<0.0> : vector<16xf32>
  %const_15 = arith.constant 255 : i64
  %const_16 = arith.constant 8 : i64
  %const_17 = arith.constant 16 : i64
  %const_18 = arith.constant 24 : i64
  %const_19 = arith.constant 32 : i64
  %const_20 = arith.constant 40 : i64
  %const_21 = arith.constant 48 : i64
  %const_22 = arith.constant 56 : i64
  %const_23 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xf32> to memref<?xf32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xf32> to memref<?xf32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi8> to memref<?xi8>
  %lengths = memref.reinterpret_cast %lengths_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi8> to memref<?xi8>
  %order = memref.reinterpret_cast %order_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi8> to memref<?xi8>
  %rest_rows = memref.reinterpret_cast %rest_rows_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi8> to memref<?xi8>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi64> to memref<?xi64>
  %rest_start = memref.reinterpret_cast %rest_start_ptr to offset: [0], sizes: [%const_23], strides: [1] : memref<1xi64> to memref<?xi64>
  scf.for %tile1 = %tile_lo to %tile_hi step %const_0 {
    %i2 = arith.muli %tile1, %const_1 : index
    %i3 = arith.muli %tile1, %const_2 : index
    scf.for %block4 = %const_3 to %const_0 step %const_0 {
      %i5 = arith.muli %block4, %const_4 : index
      %i6 = arith.addi %i2, %i5 : index
      %i7 = arith.muli %block4, %const_5 : index
      %i8 = arith.muli %block4, %const_6 : index
      %i9 = arith.muli %block4, %const_7 : index
      scf.for %window10 = %window_lo to %window_hi step %const_0 {
        %i11 = arith.addi %i7, %window10 : index
        %i12 = arith.muli %window10, %const_8 : index
        %i13 = arith.addi %i12, %const_8 : index
        %i14 = arith.minui %i13, %const_7 : index
        %i15 = arith.muli %i12, %const_8 : index
        %i16 = arith.addi %i3, %i15 : index
        %i17 = arith.addi %i9, %i12 : index
        %i18 = arith.muli %window10, %const_5 : index
        %i19 = arith.addi %i8, %i18 : index
        %s20 = memref.load %start[%i11] : memref<?xi64>
        %i21 = arith.index_cast %s20 : i64 to index
        %i22 = arith.subi %i14, %i12 : index
        %i23 = arith.divui %i22, %const_9 : index
        %r26:1 = scf.for %slice24 = %const_3 to %i23 step %const_0 iter_args(%a25 = %i21) -> (index) {
          %i27 = arith.muli %slice24, %const_9 : index
          %i28 = arith.addi %i17, %i27 : index
          %s29 = memref.load %order[%i28] : memref<?xi8>
          %i30 = arith.index_castui %s29 : i8 to index
          %i31 = arith.muli %i30, %const_8 : index
          %i32 = arith.addi %i16, %i31 : index
          %i33 = arith.addi %i28, %const_0 : index
          %s34 = memref.load %order[%i33] : memref<?xi8>
          %i35 = arith.index_castui %s34 : i8 to index
          %i36 = arith.muli %i35, %const_8 : index
          %i37 = arith.addi %i16, %i36 : index
          %i38 = arith.addi %i28, %const_5 : index
          %s39 = memref.load %order[%i38] : memref<?xi8>
          %i40 = arith.index_castui %s39 : i8 to index
          %i41 = arith.muli %i40, %const_8 : index
          %i42 = arith.addi %i16, %i41 : index
          %i43 = arith.addi %i28, %const_10 : index
          %s44 = memref.load %order[%i43] : memref<?xi8>
          %i45 = arith.index_castui %s44 : i8 to index
          %i46 = arith.muli %i45, %const_8 : index
          %i47 = arith.addi %i16, %i46 : index
          %i48 = arith.addi %i28, %const_6 : index
          %s49 = memref.load %order[%i48] : memref<?xi8>
          %i50 = arith.index_castui %s49 : i8 to index
          %i51 = arith.muli %i50, %const_8 : index
          %i52 = arith.addi %i16, %i51 : index
          %i53 = arith.addi %i28, %const_11 : index
          %s54 = memref.load %order[%i53] : memref<?xi8>
          %i55 = arith.index_castui %s54 : i8 to index
          %i56 = arith.muli %i55, %const_8 : index
          %i57 = arith.addi %i16, %i56 : index
          %i58 = arith.addi %i28, %const_12 : index
          %s59 = memref.load %order[%i58] : memref<?xi8>
          %i60 = arith.index_castui %s59 : i8 to index
          %i61 = arith.muli %i60, %const_8 : index
          %i62 = arith.addi %i16, %i61 : index
          %i63 = arith.addi %i28, %const_13 : index
          %s64 = memref.load %order[%i63] : memref<?xi8>
          %i65 = arith.index_castui %s64 : i8 to index
          %i66 = arith.muli %i65, %const_8 : index
          %i67 = arith.addi %i16, %i66 : index
          %i68 = arith.addi %i19, %slice24 : index
          %s69 = memref.load %lengths[%i68] : memref<?xi8>
          %i70 = arith.index_castui %s69 : i8 to index
          %i71 = arith.muli %i70, %const_9 : index
          %i72 = arith.addi %a25, %i71 : index
          %i73 = arith.addi %a25, %const_4 : index
          memref.prefetch %columns[%i73], read, locality<3>, data : memref<?xi8>
          %r83:8 = scf.for %p74 = %a25 to %i72 step %const_9 iter_args(%a75 = %const_14, %a76 = %const_14, %a77 = %const_14, %a78 = %const_14, %a79 = %const_14, %a80 = %const_14, %a81 = %const_14, %a82 = %const_14) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
            %i84 = arith.addi %p74, %const_4 : index
            memref.prefetch %values[%i84], read, locality<3>, data : memref<?xf32>
            %c85 = vector.load %columns[%p74] : memref<?xi8>, vector<8xi8>
            %c86 = vector.bitcast %c85 : vector<8xi8> to vector<1xi64>
            %c87 = vector.extract %c86[0] : i64 from vector<1xi64>
            %c88 = arith.andi %c87, %const_15 : i64
            %i89 = arith.index_cast %c88 : i64 to index
            %i90 = arith.muli %i89, %const_8 : index
            %c91 = arith.shrui %c87, %const_16 : i64
            %c92 = arith.andi %c91, %const_15 : i64
            %i93 = arith.index_cast %c92 : i64 to index
            %i94 = arith.muli %i93, %const_8 : index
            %c95 = arith.shrui %c87, %const_17 : i64
            %c96 = arith.andi %c95, %const_15 : i64
            %i97 = arith.index_cast %c96 : i64 to index
            %i98 = arith.muli %i97, %const_8 : index
            %c99 = arith.shrui %c87, %const_18 : i64
            %c100 = arith.andi %c99, %const_15 : i64
            %i101 = arith.index_cast %c100 : i64 to index
            %i102 = arith.muli %i101, %const_8 : index
            %c103 = arith.shrui %c87, %const_19 : i64
            %c104 = arith.andi %c103, %const_15 : i64
            %i105 = arith.index_cast %c104 : i64 to index
            %i106 = arith.muli %i105, %const_8 : index
            %c107 = arith.shrui %c87, %const_20 : i64
            %c108 = arith.andi %c107, %const_15 : i64
            %i109 = arith.index_cast %c108 : i64 to index
            %i110 = arith.muli %i109, %const_8 : index
            %c111 = arith.shrui %c87, %const_21 : i64
            %c112 = arith.andi %c111, %const_15 : i64
            %i113 = arith.index_cast %c112 : i64 to index
            %i114 = arith.muli %i113, %const_8 : index
            %c115 = arith.shrui %c87, %const_22 : i64
            %c116 = arith.andi %c115, %const_15 : i64
            %i117 = arith.index_cast %c116 : i64 to index
            %i118 = arith.muli %i117, %const_8 : index
            %i119 = arith.addi %i6, %i90 : index
            %s120 = memref.load %values[%p74] : memref<?xf32>
            %w121 = vector.broadcast %s120 : f32 to vector<16xf32>
            %x122 = vector.load %xs[%i119] : memref<?xf32>, vector<16xf32>
            %f123 = vector.fma %w121, %x122, %a75 : vector<16xf32>
            %i124 = arith.addi %p74, %const_0 : index
            %i125 = arith.addi %i6, %i94 : index
            %s126 = memref.load %values[%i124] : memref<?xf32>
            %w127 = vector.broadcast %s126 : f32 to vector<16xf32>
            %x128 = vector.load %xs[%i125] : memref<?xf32>, vector<16xf32>
            %f129 = vector.fma %w127, %x128, %a76 : vector<16xf32>
            %i130 = arith.addi %p74, %const_5 : index
            %i131 = arith.addi %i6, %i98 : index
            %s132 = memref.load %values[%i130] : memref<?xf32>
            %w133 = vector.broadcast %s132 : f32 to vector<16xf32>
            %x134 = vector.load %xs[%i131] : memref<?xf32>, vector<16xf32>
            %f135 = vector.fma %w133, %x134, %a77 : vector<16xf32>
            %i136 = arith.addi %p74, %const_10 : index
            %i137 = arith.addi %i6, %i102 : index
            %s138 = memref.load %values[%i136] : memref<?xf32>
            %w139 = vector.broadcast %s138 : f32 to vector<16xf32>
            %x140 = vector.load %xs[%i137] : memref<?xf32>, vector<16xf32>
            %f141 = vector.fma %w139, %x140, %a78 : vector<16xf32>
            %i142 = arith.addi %p74, %const_6 : index
            %i143 = arith.addi %i6, %i106 : index
            %s144 = memref.load %values[%i142] : memref<?xf32>
            %w145 = vector.broadcast %s144 : f32 to vector<16xf32>
            %x146 = vector.load %xs[%i143] : memref<?xf32>, vector<16xf32>
            %f147 = vector.fma %w145, %x146, %a79 : vector<16xf32>
            %i148 = arith.addi %p74, %const_11 : index
            %i149 = arith.addi %i6, %i110 : index
            %s150 = memref.load %values[%i148] : memref<?xf32>
            %w151 = vector.broadcast %s150 : f32 to vector<16xf32>
            %x152 = vector.load %xs[%i149] : memref<?xf32>, vector<16xf32>
            %f153 = vector.fma %w151, %x152, %a80 : vector<16xf32>
            %i154 = arith.addi %p74, %const_12 : index
            %i155 = arith.addi %i6, %i114 : index
            %s156 = memref.load %values[%i154] : memref<?xf32>
            %w157 = vector.broadcast %s156 : f32 to vector<16xf32>
            %x158 = vector.load %xs[%i155] : memref<?xf32>, vector<16xf32>
            %f159 = vector.fma %w157, %x158, %a81 : vector<16xf32>
            %i160 = arith.addi %p74, %const_13 : index
            %i161 = arith.addi %i6, %i118 : index
            %s162 = memref.load %values[%i160] : memref<?xf32>
            %w163 = vector.broadcast %s162 : f32 to vector<16xf32>
            %x164 = vector.load %xs[%i161] : memref<?xf32>, vector<16xf32>
            %f165 = vector.fma %w163, %x164, %a82 : vector<16xf32>
            scf.yield %f123, %f129, %f135, %f141, %f147, %f153, %f159, %f165 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
          }
          vector.store %r83#0, %ys[%i32] : memref<?xf32>, vector<16xf32>
          vector.store %r83#1, %ys[%i37] : memref<?xf32>, vector<16xf32>
          vector.store %r83#2, %ys[%i42] : memref<?xf32>, vector<16xf32>
          vector.store %r83#3, %ys[%i47] : memref<?xf32>, vector<16xf32>
          vector.store %r83#4, %ys[%i52] : memref<?xf32>, vector<16xf32>
          vector.store %r83#5, %ys[%i57] : memref<?xf32>, vector<16xf32>
          vector.store %r83#6, %ys[%i62] : memref<?xf32>, vector<16xf32>
          vector.store %r83#7, %ys[%i67] : memref<?xf32>, vector<16xf32>
          scf.yield %i72 : index
        }
        %i166 = arith.muli %i23, %const_9 : index
        %i167 = arith.subi %i14, %i12 : index
        scf.for %place168 = %i166 to %i167 step %const_0 {
          %i169 = arith.addi %i17, %place168 : index
          %s170 = memref.load %order[%i169] : memref<?xi8>
          %i171 = arith.index_castui %s170 : i8 to index
          %i172 = arith.muli %i171, %const_8 : index
          %i173 = arith.addi %i16, %i172 : index
          vector.store %const_14, %ys[%i173] : memref<?xf32>, vector<16xf32>
        }
        %s174 = memref.load %rest_start[%i11] : memref<?xi64>
        %i175 = arith.index_cast %s174 : i64 to index
        %i176 = arith.addi %i11, %const_0 : index
        %s177 = memref.load %rest_start[%i176] : memref<?xi64>
        %i178 = arith.index_cast %s177 : i64 to index
        %i179 = arith.subi %r26#0, %i175 : index
        scf.for %left180 = %i175 to %i178 step %const_0 {
          %i181 = arith.addi %i179, %left180 : index
          %s182 = memref.load %columns[%i181] : memref<?xi8>
          %i183 = arith.index_castui %s182 : i8 to index
          %s184 = memref.load %rest_rows[%left180] : memref<?xi8>
          %i185 = arith.index_castui %s184 : i8 to index
          %i186 = arith.muli %i185, %const_8 : index
          %i187 = arith.addi %i16, %i186 : index
          %x188 = vector.load %ys[%i187] : memref<?xf32>, vector<16xf32>
          %i189 = arith.muli %i183, %const_8 : index
          %i190 = arith.addi %i6, %i189 : index
          %s191 = memref.load %values[%i181] : memref<?xf32>
          %w192 = vector.broadcast %s191 : f32 to vector<16xf32>
          %x193 = vector.load %xs[%i190] : memref<?xf32>, vector<16xf32>
          %f194 = vector.fma %w192, %x193, %x188 : vector<16xf32>
          vector.store %f194, %ys[%i187] : memref<?xf32>, vector<16xf32>
        }
      }
    }
    scf.for %block195 = %const_0 to %const_5 step %const_0 {
      %i196 = arith.muli %block195, %const_4 : index
      %i197 = arith.addi %i2, %i196 : index
      %i198 = arith.muli %block195, %const_5 : index
      %i199 = arith.muli %block195, %const_6 : index
      %i200 = arith.muli %block195, %const_7 : index
      scf.for %window201 = %window_lo to %window_hi step %const_0 {
        %i202 = arith.addi %i198, %window201 : index
        %i203 = arith.muli %window201, %const_8 : index
        %i204 = arith.addi %i203, %const_8 : index
        %i205 = arith.minui %i204, %const_7 : index
        %i206 = arith.muli %i203, %const_8 : index
        %i207 = arith.addi %i3, %i206 : index
        %i208 = arith.addi %i200, %i203 : index
        %i209 = arith.muli %window201, %const_5 : index
        %i210 = arith.addi %i199, %i209 : index
        %s211 = memref.load %start[%i202] : memref<?xi64>
        %i212 = arith.index_cast %s211 : i64 to index
        %i213 = arith.subi %i205, %i203 : index
        %i214 = arith.divui %i213, %const_9 : index
        %r217:1 = scf.for %slice215 = %const_3 to %i214 step %const_0 iter_args(%a216 = %i212) -> (index) {
          %i218 = arith.muli %slice215, %const_9 : index
          %i219 = arith.addi %i208, %i218 : index
          %s220 = memref.load %order[%i219] : memref<?xi8>
          %i221 = arith.index_castui %s220 : i8 to index
          %i222 = arith.muli %i221, %const_8 : index
          %i223 = arith.addi %i207, %i222 : index
          %i224 = arith.addi %i219, %const_0 : index
          %s225 = memref.load %order[%i224] : memref<?xi8>
          %i226 = arith.index_castui %s225 : i8 to index
          %i227 = arith.muli %i226, %const_8 : index
          %i228 = arith.addi %i207, %i227 : index
          %i229 = arith.addi %i219, %const_5 : index
          %s230 = memref.load %order[%i229] : memref<?xi8>
          %i231 = arith.index_castui %s230 : i8 to index
          %i232 = arith.muli %i231, %const_8 : index
          %i233 = arith.addi %i207, %i232 : index
          %i234 = arith.addi %i219, %const_10 : index
          %s235 = memref.load %order[%i234] : memref<?xi8>
          %i236 = arith.index_castui %s235 : i8 to index
          %i237 = arith.muli %i236, %const_8 : index
          %i238 = arith.addi %i207, %i237 : index
          %i239 = arith.addi %i219, %const_6 : index
          %s240 = memref.load %order[%i239] : memref<?xi8>
          %i241 = arith.index_castui %s240 : i8 to index
          %i242 = arith.muli %i241, %const_8 : index
          %i243 = arith.addi %i207, %i242 : index
          %i244 = arith.addi %i219, %const_11 : index
          %s245 = memref.load %order[%i244] : memref<?xi8>
          %i246 = arith.index_castui %s245 : i8 to index
          %i247 = arith.muli %i246, %const_8 : index
          %i248 = arith.addi %i207, %i247 : index
          %i249 = arith.addi %i219, %const_12 : index
          %s250 = memref.load %order[%i249] : memref<?xi8>
          %i251 = arith.index_castui %s250 : i8 to index
          %i252 = arith.muli %i251, %const_8 : index
          %i253 = arith.addi %i207, %i252 : index
          %i254 = arith.addi %i219, %const_13 : index
          %s255 = memref.load %order[%i254] : memref<?xi8>
          %i256 = arith.index_castui %s255 : i8 to index
          %i257 = arith.muli %i256, %const_8 : index
          %i258 = arith.addi %i207, %i257 : index
          %i259 = arith.addi %i210, %slice215 : index
          %s260 = memref.load %lengths[%i259] : memref<?xi8>
          %i261 = arith.index_castui %s260 : i8 to index
          %x262 = vector.load %ys[%i223] : memref<?xf32>, vector<16xf32>
          %x263 = vector.load %ys[%i228] : memref<?xf32>, vector<16xf32>
          %x264 = vector.load %ys[%i233] : memref<?xf32>, vector<16xf32>
          %x265 = vector.load %ys[%i238] : memref<?xf32>, vector<16xf32>
          %x266 = vector.load %ys[%i243] : memref<?xf32>, vector<16xf32>
          %x267 = vector.load %ys[%i248] : memref<?xf32>, vector<16xf32>
          %x268 = vector.load %ys[%i253] : memref<?xf32>, vector<16xf32>
          %x269 = vector.load %ys[%i258] : memref<?xf32>, vector<16xf32>
          %i270 = arith.muli %i261, %const_9 : index
          %i271 = arith.addi %a216, %i270 : index
          %i272 = arith.addi %a216, %const_4 : index
          memref.prefetch %columns[%i272], read, locality<3>, data : memref<?xi8>
          %r282:8 = scf.for %p273 = %a216 to %i271 step %const_9 iter_args(%a274 = %x262, %a275 = %x263, %a276 = %x264, %a277 = %x265, %a278 = %x266, %a279 = %x267, %a280 = %x268, %a281 = %x269) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
            %i283 = arith.addi %p273, %const_4 : index
            memref.prefetch %values[%i283], read, locality<3>, data : memref<?xf32>
            %c284 = vector.load %columns[%p273] : memref<?xi8>, vector<8xi8>
            %c285 = vector.bitcast %c284 : vector<8xi8> to vector<1xi64>
            %c286 = vector.extract %c285[0] : i64 from vector<1xi64>
            %c287 = arith.andi %c286, %const_15 : i64
            %i288 = arith.index_cast %c287 : i64 to index
            %i289 = arith.muli %i288, %const_8 : index
            %c290 = arith.shrui %c286, %const_16 : i64
            %c291 = arith.andi %c290, %const_15 : i64
            %i292 = arith.index_cast %c291 : i64 to index
            %i293 = arith.muli %i292, %const_8 : index
            %c294 = arith.shrui %c286, %const_17 : i64
            %c295 = arith.andi %c294, %const_15 : i64
            %i296 = arith.index_cast %c295 : i64 to index
            %i297 = arith.muli %i296, %const_8 : index
            %c298 = arith.shrui %c286, %const_18 : i64
            %c299 = arith.andi %c298, %const_15 : i64
            %i300 = arith.index_cast %c299 : i64 to index
            %i301 = arith.muli %i300, %const_8 : index
            %c302 = arith.shrui %c286, %const_19 : i64
            %c303 = arith.andi %c302, %const_15 : i64
            %i304 = arith.index_cast %c303 : i64 to index
            %i305 = arith.muli %i304, %const_8 : index
            %c306 = arith.shrui %c286, %const_20 : i64
            %c307 = arith.andi %c306, %const_15 : i64
            %i308 = arith.index_cast %c307 : i64 to index
            %i309 = arith.muli %i308, %const_8 : index
            %c310 = arith.shrui %c286, %const_21 : i64
            %c311 = arith.andi %c310, %const_15 : i64
            %i312 = arith.index_cast %c311 : i64 to index
            %i313 = arith.muli %i312, %const_8 : index
            %c314 = arith.shrui %c286, %const_22 : i64
            %c315 = arith.andi %c314, %const_15 : i64
            %i316 = arith.index_cast %c315 : i64 to index
            %i317 = arith.muli %i316, %const_8 : index
            %i318 = arith.addi %i197, %i289 : index
            %s319 = memref.load %values[%p273] : memref<?xf32>
            %w320 = vector.broadcast %s319 : f32 to vector<16xf32>
            %x321 = vector.load %xs[%i318] : memref<?xf32>, vector<16xf32>
            %f322 = vector.fma %w320, %x321, %a274 : vector<16xf32>
            %i323 = arith.addi %p273, %const_0 : index
            %i324 = arith.addi %i197, %i293 : index
            %s325 = memref.load %values[%i323] : memref<?xf32>
            %w326 = vector.broadcast %s325 : f32 to vector<16xf32>
            %x327 = vector.load %xs[%i324] : memref<?xf32>, vector<16xf32>
            %f328 = vector.fma %w326, %x327, %a275 : vector<16xf32>
            %i329 = arith.addi %p273, %const_5 : index
            %i330 = arith.addi %i197, %i297 : index
            %s331 = memref.load %values[%i329] : memref<?xf32>
            %w332 = vector.broadcast %s331 : f32 to vector<16xf32>
            %x333 = vector.load %xs[%i330] : memref<?xf32>, vector<16xf32>
            %f334 = vector.fma %w332, %x333, %a276 : vector<16xf32>
            %i335 = arith.addi %p273, %const_10 : index
            %i336 = arith.addi %i197, %i301 : index
            %s337 = memref.load %values[%i335] : memref<?xf32>
            %w338 = vector.broadcast %s337 : f32 to vector<16xf32>
            %x339 = vector.load %xs[%i336] : memref<?xf32>, vector<16xf32>
            %f340 = vector.fma %w338, %x339, %a277 : vector<16xf32>
            %i341 = arith.addi %p273, %const_6 : index
            %i342 = arith.addi %i197, %i305 : index
            %s343 = memref.load %values[%i341] : memref<?xf32>
            %w344 = vector.broadcast %s343 : f32 to vector<16xf32>
            %x345 = vector.load %xs[%i342] : memref<?xf32>, vector<16xf32>
            %f346 = vector.fma %w344, %x345, %a278 : vector<16xf32>
            %i347 = arith.addi %p273, %const_11 : index
            %i348 = arith.addi %i197, %i309 : index
            %s349 = memref.load %values[%i347] : memref<?xf32>
            %w350 = vector.broadcast %s349 : f32 to vector<16xf32>
            %x351 = vector.load %xs[%i348] : memref<?xf32>, vector<16xf32>
            %f352 = vector.fma %w350, %x351, %a279 : vector<16xf32>
            %i353 = arith.addi %p273, %const_12 : index
            %i354 = arith.addi %i197, %i313 : index
            %s355 = memref.load %values[%i353] : memref<?xf32>
            %w356 = vector.broadcast %s355 : f32 to vector<16xf32>
            %x357 = vector.load %xs[%i354] : memref<?xf32>, vector<16xf32>
            %f358 = vector.fma %w356, %x357, %a280 : vector<16xf32>
            %i359 = arith.addi %p273, %const_13 : index
            %i360 = arith.addi %i197, %i317 : index
            %s361 = memref.load %values[%i359] : memref<?xf32>
            %w362 = vector.broadcast %s361 : f32 to vector<16xf32>
            %x363 = vector.load %xs[%i360] : memref<?xf32>, vector<16xf32>
            %f364 = vector.fma %w362, %x363, %a281 : vector<16xf32>
            scf.yield %f322, %f328, %f334, %f340, %f346, %f352, %f358, %f364 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
          }
          vector.store %r282#0, %ys[%i223] : memref<?xf32>, vector<16xf32>
          vector.store %r282#1, %ys[%i228] : memref<?xf32>, vector<16xf32>
          vector.store %r282#2, %ys[%i233] : memref<?xf32>, vector<16xf32>
          vector.store %r282#3, %ys[%i238] : memref<?xf32>, vector<16xf32>
          vector.store %r282#4, %ys[%i243] : memref<?xf32>, vector<16xf32>
          vector.store %r282#5, %ys[%i248] : memref<?xf32>, vector<16xf32>
          vector.store %r282#6, %ys[%i253] : memref<?xf32>, vector<16xf32>
          vector.store %r282#7, %ys[%i258] : memref<?xf32>, vector<16xf32>
          scf.yield %i271 : index
        }
        %s365 = memref.load %rest_start[%i202] : memref<?xi64>
        %i366 = arith.index_cast %s365 : i64 to index
        %i367 = arith.addi %i202, %const_0 : index
        %s368 = memref.load %rest_start[%i367] : memref<?xi64>
        %i369 = arith.index_cast %s368 : i64 to index
        %i370 = arith.subi %r217#0, %i366 : index
        scf.for %left371 = %i366 to %i369 step %const_0 {
          %i372 = arith.addi %i370, %left371 : index
          %s373 = memref.load %columns[%i372] : memref<?xi8>
          %i374 = arith.index_castui %s373 : i8 to index
          %s375 = memref.load %rest_rows[%left371] : memref<?xi8>
          %i376 = arith.index_castui %s375 : i8 to index
          %i377 = arith.muli %i376, %const_8 : index
          %i378 = arith.addi %i207, %i377 : index
          %x379 = vector.load %ys[%i378] : memref<?xf32>, vector<16xf32>
          %i380 = arith.muli %i374, %const_8 : index
          %i381 = arith.addi %i197, %i380 : index
          %s382 = memref.load %values[%i372] : memref<?xf32>
          %w383 = vector.broadcast %s382 : f32 to vector<16xf32>
          %x384 = vector.load %xs[%i381] : memref<?xf32>, vector<16xf32>
          %f385 = vector.fma %w383, %x384, %x379 : vector<16xf32>
          vector.store %f385, %ys[%i378] : memref<?xf32>, vector<16xf32>
        }
      }
    }
  }
  return
}
