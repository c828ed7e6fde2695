func.func @_mlir_block(%xs_ptr: memref<1xf32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xbf16>, %columns_ptr: memref<1xi32>, %row_start_ptr: memref<1xi32>, %tile_lo: index, %tile_hi: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 128 : index
  %const_2 = arith.constant 256 : index
  %const_3 = arith.constant 1 : index
  %const_4 = arith.constant dense<0.0> : vector<16xf32>
  %const_5 = arith.constant 32 : index
  %const_6 = arith.constant 8 : index
  %const_7 = arith.constant 1024 : index
  %const_8 = arith.constant 0 : index
  %const_9 = arith.constant 3 : index
  %const_10 = arith.constant 16 : index
  %const_11 = arith.constant 144 : index
  %const_12 = arith.constant 4 : index
  %const_13 = arith.constant 5 : index
  %const_14 = arith.constant 6 : index
  %const_15 = arith.constant 7 : index
  %const_16 = arith.constant 64 : index
  %const_17 = arith.constant 272 : index
  %const_18 = arith.constant 288 : index
  %const_19 = arith.constant 48 : index
  %const_20 = arith.constant 304 : index
  %const_21 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xf32> to memref<?xf32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xbf16> to memref<?xbf16>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xi32> to memref<?xi32>
  %row_start = memref.reinterpret_cast %row_start_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xi32> to memref<?xi32>
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
      %r20:8 = scf.for %b11 = %i7 to %i10 step %const_3 iter_args(%a12 = %const_4, %a13 = %const_4, %a14 = %const_4, %a15 = %const_4, %a16 = %const_4, %a17 = %const_4, %a18 = %const_4, %a19 = %const_4) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
        %s21 = memref.load %columns[%b11] : memref<?xi32>
        %i22 = arith.index_castui %s21 : i32 to index
        %i23 = arith.muli %i22, %const_5 : index
        %i24 = arith.addi %i2, %i23 : index
        %i25 = arith.muli %b11, %const_6 : index
        %i26 = arith.addi %i25, %const_7 : index
        memref.prefetch %values[%i26], read, locality<3>, data : memref<?xbf16>
        %i27 = arith.addi %i24, %const_8 : index
        %x28 = vector.load %xs[%i27] : memref<?xf32>, vector<16xf32>
        %i29 = arith.addi %i24, %const_1 : index
        %x30 = vector.load %xs[%i29] : memref<?xf32>, vector<16xf32>
        %i31 = arith.addi %i25, %const_8 : index
        %s32 = memref.load %values[%i31] : memref<?xbf16>
        %s33 = arith.extf %s32 : bf16 to f32
        %w34 = vector.broadcast %s33 : f32 to vector<16xf32>
        %f35 = vector.fma %w34, %x28, %a12 : vector<16xf32>
        %f36 = vector.fma %w34, %x30, %a13 : vector<16xf32>
        %i37 = arith.addi %i25, %const_3 : index
        %s38 = memref.load %values[%i37] : memref<?xbf16>
        %s39 = arith.extf %s38 : bf16 to f32
        %w40 = vector.broadcast %s39 : f32 to vector<16xf32>
        %f41 = vector.fma %w40, %x28, %a14 : vector<16xf32>
        %f42 = vector.fma %w40, %x30, %a15 : vector<16xf32>
        %i43 = arith.addi %i25, %const_0 : index
        %s44 = memref.load %values[%i43] : memref<?xbf16>
        %s45 = arith.extf %s44 : bf16 to f32
        %w46 = vector.broadcast %s45 : f32 to vector<16xf32>
        %f47 = vector.fma %w46, %x28, %a16 : vector<16xf32>
        %f48 = vector.fma %w46, %x30, %a17 : vector<16xf32>
        %i49 = arith.addi %i25, %const_9 : index
        %s50 = memref.load %values[%i49] : memref<?xbf16>
        %s51 = arith.extf %s50 : bf16 to f32
        %w52 = vector.broadcast %s51 : f32 to vector<16xf32>
        %f53 = vector.fma %w52, %x28, %a18 : vector<16xf32>
        %f54 = vector.fma %w52, %x30, %a19 : vector<16xf32>
        %i55 = arith.addi %i24, %const_10 : index
        %x56 = vector.load %xs[%i55] : memref<?xf32>, vector<16xf32>
        %i57 = arith.addi %i24, %const_11 : index
        %x58 = vector.load %xs[%i57] : memref<?xf32>, vector<16xf32>
        %i59 = arith.addi %i25, %const_12 : index
        %s60 = memref.load %values[%i59] : memref<?xbf16>
        %s61 = arith.extf %s60 : bf16 to f32
        %w62 = vector.broadcast %s61 : f32 to vector<16xf32>
        %f63 = vector.fma %w62, %x56, %f35 : vector<16xf32>
        %f64 = vector.fma %w62, %x58, %f36 : vector<16xf32>
        %i65 = arith.addi %i25, %const_13 : index
        %s66 = memref.load %values[%i65] : memref<?xbf16>
        %s67 = arith.extf %s66 : bf16 to f32
        %w68 = vector.broadcast %s67 : f32 to vector<16xf32>
        %f69 = vector.fma %w68, %x56, %f41 : vector<16xf32>
        %f70 = vector.fma %w68, %x58, %f42 : vector<16xf32>
        %i71 = arith.addi %i25, %const_14 : index
        %s72 = memref.load %values[%i71] : memref<?xbf16>
        %s73 = arith.extf %s72 : bf16 to f32
        %w74 = vector.broadcast %s73 : f32 to vector<16xf32>
        %f75 = vector.fma %w74, %x56, %f47 : vector<16xf32>
        %f76 = vector.fma %w74, %x58, %f48 : vector<16xf32>
        %i77 = arith.addi %i25, %const_15 : index
        %s78 = memref.load %values[%i77] : memref<?xbf16>
        %s79 = arith.extf %s78 : bf16 to f32
        %w80 = vector.broadcast %s79 : f32 to vector<16xf32>
        %f81 = vector.fma %w80, %x56, %f53 : vector<16xf32>
        %f82 = vector.fma %w80, %x58, %f54 : vector<16xf32>
        scf.yield %f63, %f64, %f69, %f70, %f75, %f76, %f81, %f82 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %i83 = arith.muli %row5, %const_16 : index
      %i84 = arith.addi %i3, %i83 : index
      %i85 = arith.addi %i84, %const_8 : index
      vector.store %r20#0, %ys[%i85] : memref<?xf32>, vector<16xf32>
      %i86 = arith.addi %i84, %const_2 : index
      vector.store %r20#1, %ys[%i86] : memref<?xf32>, vector<16xf32>
      %i87 = arith.addi %i84, %const_10 : index
      vector.store %r20#2, %ys[%i87] : memref<?xf32>, vector<16xf32>
      %i88 = arith.addi %i84, %const_17 : index
      vector.store %r20#3, %ys[%i88] : memref<?xf32>, vector<16xf32>
      %i89 = arith.addi %i84, %const_5 : index
      vector.store %r20#4, %ys[%i89] : memref<?xf32>, vector<16xf32>
      %i90 = arith.addi %i84, %const_18 : index
      vector.store %r20#5, %ys[%i90] : memref<?xf32>, vector<16xf32>
      %i91 = arith.addi %i84, %const_19 : index
      vector.store %r20#6, %ys[%i91] : memref<?xf32>, vector<16xf32>
      %i92 = arith.addi %i84, %const_20 : index
      vector.store %r20#7, %ys[%i92] : memref<?xf32>, vector<16xf32>
    }
    %p93 = arith.cmpi sgt, %row_hi, %const_0 : index
    scf.if %p93 {
      %s94 = memref.load %row_start[%const_0] : memref<?xi32>
      %i95 = arith.index_castui %s94 : i32 to index
      %i96 = arith.addi %const_0, %const_3 : index
      %s97 = memref.load %row_start[%i96] : memref<?xi32>
      %i98 = arith.index_castui %s97 : i32 to index
      %r108:8 = scf.for %b99 = %i95 to %i98 step %const_3 iter_args(%a100 = %const_4, %a101 = %const_4, %a102 = %const_4, %a103 = %const_4, %a104 = %const_4, %a105 = %const_4, %a106 = %const_4, %a107 = %const_4) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
        %s109 = memref.load %columns[%b99] : memref<?xi32>
        %i110 = arith.index_castui %s109 : i32 to index
        %i111 = arith.muli %i110, %const_5 : index
        %i112 = arith.addi %i2, %i111 : index
        %i113 = arith.muli %b99, %const_6 : index
        %i114 = arith.addi %i113, %const_7 : index
        memref.prefetch %values[%i114], read, locality<3>, data : memref<?xbf16>
        %i115 = arith.addi %i112, %const_8 : index
        %x116 = vector.load %xs[%i115] : memref<?xf32>, vector<16xf32>
        %i117 = arith.addi %i112, %const_1 : index
        %x118 = vector.load %xs[%i117] : memref<?xf32>, vector<16xf32>
        %i119 = arith.addi %i113, %const_8 : index
        %s120 = memref.load %values[%i119] : memref<?xbf16>
        %s121 = arith.extf %s120 : bf16 to f32
        %w122 = vector.broadcast %s121 : f32 to vector<16xf32>
        %f123 = vector.fma %w122, %x116, %a100 : vector<16xf32>
        %f124 = vector.fma %w122, %x118, %a101 : vector<16xf32>
        %i125 = arith.addi %i113, %const_3 : index
        %s126 = memref.load %values[%i125] : memref<?xbf16>
        %s127 = arith.extf %s126 : bf16 to f32
        %w128 = vector.broadcast %s127 : f32 to vector<16xf32>
        %f129 = vector.fma %w128, %x116, %a102 : vector<16xf32>
        %f130 = vector.fma %w128, %x118, %a103 : vector<16xf32>
        %i131 = arith.addi %i113, %const_0 : index
        %s132 = memref.load %values[%i131] : memref<?xbf16>
        %s133 = arith.extf %s132 : bf16 to f32
        %w134 = vector.broadcast %s133 : f32 to vector<16xf32>
        %f135 = vector.fma %w134, %x116, %a104 : vector<16xf32>
        %f136 = vector.fma %w134, %x118, %a105 : vector<16xf32>
        %i137 = arith.addi %i113, %const_9 : index
        %s138 = memref.load %values[%i137] : memref<?xbf16>
        %s139 = arith.extf %s138 : bf16 to f32
        %w140 = vector.broadcast %s139 : f32 to vector<16xf32>
        %f141 = vector.fma %w140, %x116, %a106 : vector<16xf32>
        %f142 = vector.fma %w140, %x118, %a107 : vector<16xf32>
        %i143 = arith.addi %i112, %const_10 : index
        %x144 = vector.load %xs[%i143] : memref<?xf32>, vector<16xf32>
        %i145 = arith.addi %i112, %const_11 : index
        %x146 = vector.load %xs[%i145] : memref<?xf32>, vector<16xf32>
        %i147 = arith.addi %i113, %const_12 : index
        %s148 = memref.load %values[%i147] : memref<?xbf16>
        %s149 = arith.extf %s148 : bf16 to f32
        %w150 = vector.broadcast %s149 : f32 to vector<16xf32>
        %f151 = vector.fma %w150, %x144, %f123 : vector<16xf32>
        %f152 = vector.fma %w150, %x146, %f124 : vector<16xf32>
        %i153 = arith.addi %i113, %const_13 : index
        %s154 = memref.load %values[%i153] : memref<?xbf16>
        %s155 = arith.extf %s154 : bf16 to f32
        %w156 = vector.broadcast %s155 : f32 to vector<16xf32>
        %f157 = vector.fma %w156, %x144, %f129 : vector<16xf32>
        %f158 = vector.fma %w156, %x146, %f130 : vector<16xf32>
        %i159 = arith.addi %i113, %const_14 : index
        %s160 = memref.load %values[%i159] : memref<?xbf16>
        %s161 = arith.extf %s160 : bf16 to f32
        %w162 = vector.broadcast %s161 : f32 to vector<16xf32>
        %f163 = vector.fma %w162, %x144, %f135 : vector<16xf32>
        %f164 = vector.fma %w162, %x146, %f136 : vector<16xf32>
        %i165 = arith.addi %i113, %const_15 : index
        %s166 = memref.load %values[%i165] : memref<?xbf16>
        %s167 = arith.extf %s166 : bf16 to f32
        %w168 = vector.broadcast %s167 : f32 to vector<16xf32>
        %f169 = vector.fma %w168, %x144, %f141 : vector<16xf32>
        %f170 = vector.fma %w168, %x146, %f142 : vector<16xf32>
        scf.yield %f151, %f152, %f157, %f158, %f163, %f164, %f169, %f170 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %i171 = arith.muli %const_0, %const_16 : index
      %i172 = arith.addi %i3, %i171 : index
      %i173 = arith.addi %i172, %const_8 : index
      vector.store %r108#0, %ys[%i173] : memref<?xf32>, vector<16xf32>
      %i174 = arith.addi %i172, %const_2 : index
      vector.store %r108#1, %ys[%i174] : memref<?xf32>, vector<16xf32>
      %i175 = arith.addi %i172, %const_10 : index
      vector.store %r108#2, %ys[%i175] : memref<?xf32>, vector<16xf32>
      %i176 = arith.addi %i172, %const_17 : index
      vector.store %r108#3, %ys[%i176] : memref<?xf32>, vector<16xf32>
    }
  }
  return
}
