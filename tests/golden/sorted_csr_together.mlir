func.func @_mlir_sorted_csr(%xs_ptr: memref<1xf32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %columns_ptr: memref<1xi8>, %counts_ptr: memref<1xi8>, %order_ptr: memref<1xi8>, %start_ptr: memref<1xi64>, %tile_lo: index, %tile_hi: index, %window_lo: index, %window_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 1280 : index
  %const_2 = arith.constant 512 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 24 : index
  %const_5 = arith.constant 16 : index
  %const_6 = arith.constant 3 : index
  %const_7 = arith.constant 2 : index
  %const_8 = arith.constant dense<0.0> : vector<16xf32>
  %const_9 = arith.constant 1024 : index
  %const_10 = arith.constant 1040 : index
  %const_11 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xf32> to memref<?xf32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xf32> to memref<?xf32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xi8> to memref<?xi8>
  %counts = memref.reinterpret_cast %counts_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xi8> to memref<?xi8>
  %order = memref.reinterpret_cast %order_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xi8> to memref<?xi8>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_11], strides: [1] : memref<1xi64> to memref<?xi64>
  scf.for %tile1 = %tile_lo to %tile_hi step %const_0 {
    %i2 = arith.muli %tile1, %const_1 : index
    %i3 = arith.muli %tile1, %const_2 : index
    %s4 = memref.load %start[%const_3] : memref<?xi64>
    %i5 = arith.index_cast %s4 : i64 to index
    %i6 = arith.muli %const_3, %const_4 : index
    %r9:1 = scf.for %window7 = %window_lo to %window_hi step %const_0 iter_args(%a8 = %i5) -> (index) {
      %i10 = arith.muli %window7, %const_5 : index
      %i11 = arith.addi %i10, %const_5 : index
      %i12 = arith.minui %i11, %const_4 : index
      %i13 = arith.subi %i12, %i10 : index
      %i14 = arith.divui %i13, %const_6 : index
      %i15 = arith.muli %i14, %const_6 : index
      %i16 = arith.addi %i10, %i15 : index
      %r19:1 = scf.for %place17 = %i10 to %i16 step %const_6 iter_args(%a18 = %a8) -> (index) {
        %i20 = arith.addi %i6, %place17 : index
        %i21 = arith.addi %i20, %const_0 : index
        %i22 = arith.addi %i20, %const_7 : index
        %s23 = memref.load %order[%i20] : memref<?xi8>
        %i24 = arith.index_castui %s23 : i8 to index
        %i25 = arith.addi %i10, %i24 : index
        %s26 = memref.load %order[%i21] : memref<?xi8>
        %i27 = arith.index_castui %s26 : i8 to index
        %i28 = arith.addi %i10, %i27 : index
        %s29 = memref.load %order[%i22] : memref<?xi8>
        %i30 = arith.index_castui %s29 : i8 to index
        %i31 = arith.addi %i10, %i30 : index
        %s32 = memref.load %counts[%i20] : memref<?xi8>
        %i33 = arith.index_castui %s32 : i8 to index
        %i34 = arith.addi %a18, %i33 : index
        %i35 = arith.muli %i25, %const_5 : index
        %i36 = arith.addi %i3, %i35 : index
        %i37 = arith.addi %i36, %const_3 : index
        %i38 = arith.addi %a18, %const_9 : index
        memref.prefetch %values[%i38], read, locality<3>, data : memref<?xf32>
        %i39 = arith.addi %a18, %const_10 : index
        memref.prefetch %values[%i39], read, locality<3>, data : memref<?xf32>
        %i40 = arith.addi %a18, %const_9 : index
        memref.prefetch %columns[%i40], read, locality<3>, data : memref<?xi8>
        %s41 = memref.load %counts[%i21] : memref<?xi8>
        %i42 = arith.index_castui %s41 : i8 to index
        %i43 = arith.addi %i34, %i42 : index
        %i44 = arith.muli %i28, %const_5 : index
        %i45 = arith.addi %i3, %i44 : index
        %i46 = arith.addi %i45, %const_3 : index
        %i47 = arith.addi %i34, %const_9 : index
        memref.prefetch %values[%i47], read, locality<3>, data : memref<?xf32>
        %i48 = arith.addi %i34, %const_10 : index
        memref.prefetch %values[%i48], read, locality<3>, data : memref<?xf32>
        %i49 = arith.addi %i34, %const_9 : index
        memref.prefetch %columns[%i49], read, locality<3>, data : memref<?xi8>
        %s50 = memref.load %counts[%i22] : memref<?xi8>
        %i51 = arith.index_castui %s50 : i8 to index
        %i52 = arith.addi %i43, %i51 : index
        %i53 = arith.muli %i31, %const_5 : index
        %i54 = arith.addi %i3, %i53 : index
        %i55 = arith.addi %i54, %const_3 : index
        %i56 = arith.addi %i43, %const_9 : index
        memref.prefetch %values[%i56], read, locality<3>, data : memref<?xf32>
        %i57 = arith.addi %i43, %const_10 : index
        memref.prefetch %values[%i57], read, locality<3>, data : memref<?xf32>
        %i58 = arith.addi %i43, %const_9 : index
        memref.prefetch %columns[%i58], read, locality<3>, data : memref<?xi8>
        %i59 = arith.subi %i34, %a18 : index
        %i60 = arith.subi %i43, %i34 : index
        %i61 = arith.subi %i52, %i43 : index
        %i62 = arith.minsi %i59, %i60 : index
        %i63 = arith.minsi %i62, %i61 : index
        %r68:3 = scf.for %p64 = %const_3 to %i63 step %const_0 iter_args(%a65 = %const_8, %a66 = %const_8, %a67 = %const_8) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
          %i69 = arith.addi %a18, %p64 : index
          %s70 = memref.load %columns[%i69] : memref<?xi8>
          %i71 = arith.index_castui %s70 : i8 to index
          %i72 = arith.muli %i71, %const_5 : index
          %i73 = arith.addi %i2, %i72 : index
          %s74 = memref.load %values[%i69] : memref<?xf32>
          %w75 = vector.broadcast %s74 : f32 to vector<16xf32>
          %i76 = arith.addi %i73, %const_3 : index
          %x77 = vector.load %xs[%i76] : memref<?xf32>, vector<16xf32>
          %f78 = vector.fma %w75, %x77, %a65 : vector<16xf32>
          %i79 = arith.addi %i34, %p64 : index
          %s80 = memref.load %columns[%i79] : memref<?xi8>
          %i81 = arith.index_castui %s80 : i8 to index
          %i82 = arith.muli %i81, %const_5 : index
          %i83 = arith.addi %i2, %i82 : index
          %s84 = memref.load %values[%i79] : memref<?xf32>
          %w85 = vector.broadcast %s84 : f32 to vector<16xf32>
          %i86 = arith.addi %i83, %const_3 : index
          %x87 = vector.load %xs[%i86] : memref<?xf32>, vector<16xf32>
          %f88 = vector.fma %w85, %x87, %a66 : vector<16xf32>
          %i89 = arith.addi %i43, %p64 : index
          %s90 = memref.load %columns[%i89] : memref<?xi8>
          %i91 = arith.index_castui %s90 : i8 to index
          %i92 = arith.muli %i91, %const_5 : index
          %i93 = arith.addi %i2, %i92 : index
          %s94 = memref.load %values[%i89] : memref<?xf32>
          %w95 = vector.broadcast %s94 : f32 to vector<16xf32>
          %i96 = arith.addi %i93, %const_3 : index
          %x97 = vector.load %xs[%i96] : memref<?xf32>, vector<16xf32>
          %f98 = vector.fma %w95, %x97, %a67 : vector<16xf32>
          scf.yield %f78, %f88, %f98 : vector<16xf32>, vector<16xf32>, vector<16xf32>
        }
        %i99 = arith.addi %a18, %i63 : index
        %i100 = arith.addi %i34, %i63 : index
        %i101 = arith.addi %i43, %i63 : index
        %r104:1 = scf.for %p102 = %i99 to %i34 step %const_0 iter_args(%a103 = %r68#0) -> (vector<16xf32>) {
          %s105 = memref.load %columns[%p102] : memref<?xi8>
          %i106 = arith.index_castui %s105 : i8 to index
          %i107 = arith.muli %i106, %const_5 : index
          %i108 = arith.addi %i2, %i107 : index
          %s109 = memref.load %values[%p102] : memref<?xf32>
          %w110 = vector.broadcast %s109 : f32 to vector<16xf32>
          %i111 = arith.addi %i108, %const_3 : index
          %x112 = vector.load %xs[%i111] : memref<?xf32>, vector<16xf32>
          %f113 = vector.fma %w110, %x112, %a103 : vector<16xf32>
          scf.yield %f113 : vector<16xf32>
        }
        vector.store %r104#0, %ys[%i37] : memref<?xf32>, vector<16xf32>
        %r116:1 = scf.for %p114 = %i100 to %i43 step %const_0 iter_args(%a115 = %r68#1) -> (vector<16xf32>) {
          %s117 = memref.load %columns[%p114] : memref<?xi8>
          %i118 = arith.index_castui %s117 : i8 to index
          %i119 = arith.muli %i118, %const_5 : index
          %i120 = arith.addi %i2, %i119 : index
          %s121 = memref.load %values[%p114] : memref<?xf32>
          %w122 = vector.broadcast %s121 : f32 to vector<16xf32>
          %i123 = arith.addi %i120, %const_3 : index
          %x124 = vector.load %xs[%i123] : memref<?xf32>, vector<16xf32>
          %f125 = vector.fma %w122, %x124, %a115 : vector<16xf32>
          scf.yield %f125 : vector<16xf32>
        }
        vector.store %r116#0, %ys[%i46] : memref<?xf32>, vector<16xf32>
        %r128:1 = scf.for %p126 = %i101 to %i52 step %const_0 iter_args(%a127 = %r68#2) -> (vector<16xf32>) {
          %s129 = memref.load %columns[%p126] : memref<?xi8>
          %i130 = arith.index_castui %s129 : i8 to index
          %i131 = arith.muli %i130, %const_5 : index
          %i132 = arith.addi %i2, %i131 : index
          %s133 = memref.load %values[%p126] : memref<?xf32>
          %w134 = vector.broadcast %s133 : f32 to vector<16xf32>
          %i135 = arith.addi %i132, %const_3 : index
          %x136 = vector.load %xs[%i135] : memref<?xf32>, vector<16xf32>
          %f137 = vector.fma %w134, %x136, %a127 : vector<16xf32>
          scf.yield %f137 : vector<16xf32>
        }
        vector.store %r128#0, %ys[%i55] : memref<?xf32>, vector<16xf32>
        scf.yield %i52 : index
      }
      %r140:1 = scf.for %place138 = %i16 to %i12 step %const_0 iter_args(%a139 = %r19#0) -> (index) {
        %i141 = arith.addi %i6, %place138 : index
        %s142 = memref.load %order[%i141] : memref<?xi8>
        %i143 = arith.index_castui %s142 : i8 to index
        %i144 = arith.addi %i10, %i143 : index
        %s145 = memref.load %counts[%i141] : memref<?xi8>
        %i146 = arith.index_castui %s145 : i8 to index
        %i147 = arith.addi %a139, %i146 : index
        %i148 = arith.muli %i144, %const_5 : index
        %i149 = arith.addi %i3, %i148 : index
        %i150 = arith.addi %i149, %const_3 : index
        %i151 = arith.addi %a139, %const_9 : index
        memref.prefetch %values[%i151], read, locality<3>, data : memref<?xf32>
        %i152 = arith.addi %a139, %const_10 : index
        memref.prefetch %values[%i152], read, locality<3>, data : memref<?xf32>
        %i153 = arith.addi %a139, %const_9 : index
        memref.prefetch %columns[%i153], read, locality<3>, data : memref<?xi8>
        %r156:1 = scf.for %p154 = %a139 to %i147 step %const_0 iter_args(%a155 = %const_8) -> (vector<16xf32>) {
          %s157 = memref.load %columns[%p154] : memref<?xi8>
          %i158 = arith.index_castui %s157 : i8 to index
          %i159 = arith.muli %i158, %const_5 : index
          %i160 = arith.addi %i2, %i159 : index
          %s161 = memref.load %values[%p154] : memref<?xf32>
          %w162 = vector.broadcast %s161 : f32 to vector<16xf32>
          %i163 = arith.addi %i160, %const_3 : index
          %x164 = vector.load %xs[%i163] : memref<?xf32>, vector<16xf32>
          %f165 = vector.fma %w162, %x164, %a155 : vector<16xf32>
          scf.yield %f165 : vector<16xf32>
        }
        vector.store %r156#0, %ys[%i150] : memref<?xf32>, vector<16xf32>
        scf.yield %i147 : index
      }
      scf.yield %r140#0 : index
    }
    scf.for %block166 = %const_0 to %const_7 step %const_0 {
      %i167 = arith.muli %block166, %const_9 : index
      %i168 = arith.addi %i2, %i167 : index
      %s169 = memref.load %start[%block166] : memref<?xi64>
      %i170 = arith.index_cast %s169 : i64 to index
      %i171 = arith.muli %block166, %const_4 : index
      %r174:1 = scf.for %window172 = %window_lo to %window_hi step %const_0 iter_args(%a173 = %i170) -> (index) {
        %i175 = arith.muli %window172, %const_5 : index
        %i176 = arith.addi %i175, %const_5 : index
        %i177 = arith.minui %i176, %const_4 : index
        %i178 = arith.subi %i177, %i175 : index
        %i179 = arith.divui %i178, %const_6 : index
        %i180 = arith.muli %i179, %const_6 : index
        %i181 = arith.addi %i175, %i180 : index
        %r184:1 = scf.for %place182 = %i175 to %i181 step %const_6 iter_args(%a183 = %a173) -> (index) {
          %i185 = arith.addi %i171, %place182 : index
          %i186 = arith.addi %i185, %const_0 : index
          %i187 = arith.addi %i185, %const_7 : index
          %s188 = memref.load %order[%i185] : memref<?xi8>
          %i189 = arith.index_castui %s188 : i8 to index
          %i190 = arith.addi %i175, %i189 : index
          %s191 = memref.load %order[%i186] : memref<?xi8>
          %i192 = arith.index_castui %s191 : i8 to index
          %i193 = arith.addi %i175, %i192 : index
          %s194 = memref.load %order[%i187] : memref<?xi8>
          %i195 = arith.index_castui %s194 : i8 to index
          %i196 = arith.addi %i175, %i195 : index
          %s197 = memref.load %counts[%i185] : memref<?xi8>
          %i198 = arith.index_castui %s197 : i8 to index
          %i199 = arith.addi %a183, %i198 : index
          %i200 = arith.muli %i190, %const_5 : index
          %i201 = arith.addi %i3, %i200 : index
          %i202 = arith.addi %i201, %const_3 : index
          %x203 = vector.load %ys[%i202] : memref<?xf32>, vector<16xf32>
          %i204 = arith.addi %a183, %const_9 : index
          memref.prefetch %values[%i204], read, locality<3>, data : memref<?xf32>
          %i205 = arith.addi %a183, %const_10 : index
          memref.prefetch %values[%i205], read, locality<3>, data : memref<?xf32>
          %i206 = arith.addi %a183, %const_9 : index
          memref.prefetch %columns[%i206], read, locality<3>, data : memref<?xi8>
          %s207 = memref.load %counts[%i186] : memref<?xi8>
          %i208 = arith.index_castui %s207 : i8 to index
          %i209 = arith.addi %i199, %i208 : index
          %i210 = arith.muli %i193, %const_5 : index
          %i211 = arith.addi %i3, %i210 : index
          %i212 = arith.addi %i211, %const_3 : index
          %x213 = vector.load %ys[%i212] : memref<?xf32>, vector<16xf32>
          %i214 = arith.addi %i199, %const_9 : index
          memref.prefetch %values[%i214], read, locality<3>, data : memref<?xf32>
          %i215 = arith.addi %i199, %const_10 : index
          memref.prefetch %values[%i215], read, locality<3>, data : memref<?xf32>
          %i216 = arith.addi %i199, %const_9 : index
          memref.prefetch %columns[%i216], read, locality<3>, data : memref<?xi8>
          %s217 = memref.load %counts[%i187] : memref<?xi8>
          %i218 = arith.index_castui %s217 : i8 to index
          %i219 = arith.addi %i209, %i218 : index
          %i220 = arith.muli %i196, %const_5 : index
          %i221 = arith.addi %i3, %i220 : index
          %i222 = arith.addi %i221, %const_3 : index
          %x223 = vector.load %ys[%i222] : memref<?xf32>, vector<16xf32>
          %i224 = arith.addi %i209, %const_9 : index
          memref.prefetch %values[%i224], read, locality<3>, data : memref<?xf32>
          %i225 = arith.addi %i209, %const_10 : index
          memref.prefetch %values[%i225], read, locality<3>, data : memref<?xf32>
          %i226 = arith.addi %i209, %const_9 : index
          memref.prefetch %columns[%i226], read, locality<3>, data : memref<?xi8>
          %i227 = arith.subi %i199, %a183 : index
          %i228 = arith.subi %i209, %i199 : index
          %i229 = arith.subi %i219, %i209 : index
          %i230 = arith.minsi %i227, %i228 : index
          %i231 = arith.minsi %i230, %i229 : index
          %r236:3 = scf.for %p232 = %const_3 to %i231 step %const_0 iter_args(%a233 = %x203, %a234 = %x213, %a235 = %x223) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>) {
            %i237 = arith.addi %a183, %p232 : index
            %s238 = memref.load %columns[%i237] : memref<?xi8>
            %i239 = arith.index_castui %s238 : i8 to index
            %i240 = arith.muli %i239, %const_5 : index
            %i241 = arith.addi %i168, %i240 : index
            %s242 = memref.load %values[%i237] : memref<?xf32>
            %w243 = vector.broadcast %s242 : f32 to vector<16xf32>
            %i244 = arith.addi %i241, %const_3 : index
            %x245 = vector.load %xs[%i244] : memref<?xf32>, vector<16xf32>
            %f246 = vector.fma %w243, %x245, %a233 : vector<16xf32>
            %i247 = arith.addi %i199, %p232 : index
            %s248 = memref.load %columns[%i247] : memref<?xi8>
            %i249 = arith.index_castui %s248 : i8 to index
            %i250 = arith.muli %i249, %const_5 : index
            %i251 = arith.addi %i168, %i250 : index
            %s252 = memref.load %values[%i247] : memref<?xf32>
            %w253 = vector.broadcast %s252 : f32 to vector<16xf32>
            %i254 = arith.addi %i251, %const_3 : index
            %x255 = vector.load %xs[%i254] : memref<?xf32>, vector<16xf32>
            %f256 = vector.fma %w253, %x255, %a234 : vector<16xf32>
            %i257 = arith.addi %i209, %p232 : index
            %s258 = memref.load %columns[%i257] : memref<?xi8>
            %i259 = arith.index_castui %s258 : i8 to index
            %i260 = arith.muli %i259, %const_5 : index
            %i261 = arith.addi %i168, %i260 : index
            %s262 = memref.load %values[%i257] : memref<?xf32>
            %w263 = vector.broadcast %s262 : f32 to vector<16xf32>
            %i264 = arith.addi %i261, %const_3 : index
            %x265 = vector.load %xs[%i264] : memref<?xf32>, vector<16xf32>
            %f266 = vector.fma %w263, %x265, %a235 : vector<16xf32>
            scf.yield %f246, %f256, %f266 : vector<16xf32>, vector<16xf32>, vector<16xf32>
          }
          %i267 = arith.addi %a183, %i231 : index
          %i268 = arith.addi %i199, %i231 : index
          %i269 = arith.addi %i209, %i231 : index
          %r272:1 = scf.for %p270 = %i267 to %i199 step %const_0 iter_args(%a271 = %r236#0) -> (vector<16xf32>) {
            %s273 = memref.load %columns[%p270] : memref<?xi8>
            %i274 = arith.index_castui %s273 : i8 to index
            %i275 = arith.muli %i274, %const_5 : index
            %i276 = arith.addi %i168, %i275 : index
            %s277 = memref.load %values[%p270] : memref<?xf32>
            %w278 = vector.broadcast %s277 : f32 to vector<16xf32>
            %i279 = arith.addi %i276, %const_3 : index
            %x280 = vector.load %xs[%i279] : memref<?xf32>, vector<16xf32>
            %f281 = vector.fma %w278, %x280, %a271 : vector<16xf32>
            scf.yield %f281 : vector<16xf32>
          }
          vector.store %r272#0, %ys[%i202] : memref<?xf32>, vector<16xf32>
          %r284:1 = scf.for %p282 = %i268 to %i209 step %const_0 iter_args(%a283 = %r236#1) -> (vector<16xf32>) {
            %s285 = memref.load %columns[%p282] : memref<?xi8>
            %i286 = arith.index_castui %s285 : i8 to index
            %i287 = arith.muli %i286, %const_5 : index
            %i288 = arith.addi %i168, %i287 : index
            %s289 = memref.load %values[%p282] : memref<?xf32>
            %w290 = vector.broadcast %s289 : f32 to vector<16xf32>
            %i291 = arith.addi %i288, %const_3 : index
            %x292 = vector.load %xs[%i291] : memref<?xf32>, vector<16xf32>
            %f293 = vector.fma %w290, %x292, %a283 : vector<16xf32>
            scf.yield %f293 : vector<16xf32>
          }
          vector.store %r284#0, %ys[%i212] : memref<?xf32>, vector<16xf32>
          %r296:1 = scf.for %p294 = %i269 to %i219 step %const_0 iter_args(%a295 = %r236#2) -> (vector<16xf32>) {
            %s297 = memref.load %columns[%p294] : memref<?xi8>
            %i298 = arith.index_castui %s297 : i8 to index
            %i299 = arith.muli %i298, %const_5 : index
            %i300 = arith.addi %i168, %i299 : index
            %s301 = memref.load %values[%p294] : memref<?xf32>
            %w302 = vector.broadcast %s301 : f32 to vector<16xf32>
            %i303 = arith.addi %i300, %const_3 : index
            %x304 = vector.load %xs[%i303] : memref<?xf32>, vector<16xf32>
            %f305 = vector.fma %w302, %x304, %a295 : vector<16xf32>
            scf.yield %f305 : vector<16xf32>
          }
          vector.store %r296#0, %ys[%i222] : memref<?xf32>, vector<16xf32>
          scf.yield %i219 : index
        }
        %r308:1 = scf.for %place306 = %i181 to %i177 step %const_0 iter_args(%a307 = %r184#0) -> (index) {
          %i309 = arith.addi %i171, %place306 : index
          %s310 = memref.load %order[%i309] : memref<?xi8>
          %i311 = arith.index_castui %s310 : i8 to index
          %i312 = arith.addi %i175, %i311 : index
          %s313 = memref.load %counts[%i309] : memref<?xi8>
          %i314 = arith.index_castui %s313 : i8 to index
          %i315 = arith.addi %a307, %i314 : index
          %i316 = arith.muli %i312, %const_5 : index
          %i317 = arith.addi %i3, %i316 : index
          %i318 = arith.addi %i317, %const_3 : index
          %x319 = vector.load %ys[%i318] : memref<?xf32>, vector<16xf32>
          %i320 = arith.addi %a307, %const_9 : index
          memref.prefetch %values[%i320], read, locality<3>, data : memref<?xf32>
          %i321 = arith.addi %a307, %const_10 : index
          memref.prefetch %values[%i321], read, locality<3>, data : memref<?xf32>
          %i322 = arith.addi %a307, %const_9 : index
          memref.prefetch %columns[%i322], read, locality<3>, data : memref<?xi8>
          %r325:1 = scf.for %p323 = %a307 to %i315 step %const_0 iter_args(%a324 = %x319) -> (vector<16xf32>) {
            %s326 = memref.load %columns[%p323] : memref<?xi8>
            %i327 = arith.index_castui %s326 : i8 to index
            %i328 = arith.muli %i327, %const_5 : index
            %i329 = arith.addi %i168, %i328 : index
            %s330 = memref.load %values[%p323] : memref<?xf32>
            %w331 = vector.broadcast %s330 : f32 to vector<16xf32>
            %i332 = arith.addi %i329, %const_3 : index
            %x333 = vector.load %xs[%i332] : memref<?xf32>, vector<16xf32>
            %f334 = vector.fma %w331, %x333, %a324 : vector<16xf32>
            scf.yield %f334 : vector<16xf32>
          }
          vector.store %r325#0, %ys[%i318] : memref<?xf32>, vector<16xf32>
          scf.yield %i315 : index
        }
        scf.yield %r308#0 : index
      }
    }
  }
  return
}
