func.func @_mlir_quad(%xs_ptr: memref<1xi32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xi32>, %columns_ptr: memref<1xi32>, %row_start_ptr: memref<1xi32>, %tile_lo: index, %tile_hi: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 128 : index
  %const_2 = arith.constant 256 : index
  %const_3 = arith.constant 1 : index
  %const_4 = arith.constant dense<0.0> : vector<16xf32>
  %const_5 = arith.constant 32 : index
  %const_6 = arith.constant 8 : index
  %const_7 = arith.constant 1024 : index
  %const_8 = arith.constant 0 : index
  %const_9 = arith.constant 4 : index
  %const_10 = arith.constant 6 : index
  %const_11 = arith.constant 16 : index
  %const_12 = arith.constant 144 : index
  %const_13 = arith.constant 3 : index
  %const_14 = arith.constant 5 : index
  %const_15 = arith.constant 7 : index
  %const_16 = arith.constant 64 : index
  %const_17 = arith.constant 272 : index
  %const_18 = arith.constant 288 : index
  %const_19 = arith.constant 48 : index
  %const_20 = arith.constant 304 : index
  %const_21 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xi32> to memref<?xi32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_21], strides: [1] : memref<1xi32> to memref<?xi32>
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
      %r20:8 = scf.for %g11 = %i7 to %i10 step %const_3 iter_args(%a12 = %const_4, %a13 = %const_4, %a14 = %const_4, %a15 = %const_4, %a16 = %const_4, %a17 = %const_4, %a18 = %const_4, %a19 = %const_4) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
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
        %q30 = vector.bitcast %x29 : vector<16xi32> to vector<32xbf16>
        %x31 = vector.load %xs[%i28] : memref<?xi32>, vector<16xi32>
        %q32 = vector.bitcast %x31 : vector<16xi32> to vector<32xbf16>
        %i33 = arith.addi %i25, %const_8 : index
        %s34 = memref.load %values[%i33] : memref<?xi32>
        %w35 = vector.broadcast %s34 : i32 to vector<16xi32>
        %q36 = vector.bitcast %w35 : vector<16xi32> to vector<32xbf16>
        %d37 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a12, %q30, %q36) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d38 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a13, %q32, %q36) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i39 = arith.addi %i25, %const_0 : index
        %s40 = memref.load %values[%i39] : memref<?xi32>
        %w41 = vector.broadcast %s40 : i32 to vector<16xi32>
        %q42 = vector.bitcast %w41 : vector<16xi32> to vector<32xbf16>
        %d43 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a14, %q30, %q42) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d44 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a15, %q32, %q42) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i45 = arith.addi %i25, %const_9 : index
        %s46 = memref.load %values[%i45] : memref<?xi32>
        %w47 = vector.broadcast %s46 : i32 to vector<16xi32>
        %q48 = vector.bitcast %w47 : vector<16xi32> to vector<32xbf16>
        %d49 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a16, %q30, %q48) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d50 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a17, %q32, %q48) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i51 = arith.addi %i25, %const_10 : index
        %s52 = memref.load %values[%i51] : memref<?xi32>
        %w53 = vector.broadcast %s52 : i32 to vector<16xi32>
        %q54 = vector.bitcast %w53 : vector<16xi32> to vector<32xbf16>
        %d55 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a18, %q30, %q54) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d56 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a19, %q32, %q54) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i57 = arith.addi %i24, %const_11 : index
        %i58 = arith.addi %i24, %const_12 : index
        %x59 = vector.load %xs[%i57] : memref<?xi32>, vector<16xi32>
        %q60 = vector.bitcast %x59 : vector<16xi32> to vector<32xbf16>
        %x61 = vector.load %xs[%i58] : memref<?xi32>, vector<16xi32>
        %q62 = vector.bitcast %x61 : vector<16xi32> to vector<32xbf16>
        %i63 = arith.addi %i25, %const_3 : index
        %s64 = memref.load %values[%i63] : memref<?xi32>
        %w65 = vector.broadcast %s64 : i32 to vector<16xi32>
        %q66 = vector.bitcast %w65 : vector<16xi32> to vector<32xbf16>
        %d67 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d37, %q60, %q66) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d68 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d38, %q62, %q66) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i69 = arith.addi %i25, %const_13 : index
        %s70 = memref.load %values[%i69] : memref<?xi32>
        %w71 = vector.broadcast %s70 : i32 to vector<16xi32>
        %q72 = vector.bitcast %w71 : vector<16xi32> to vector<32xbf16>
        %d73 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d43, %q60, %q72) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d74 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d44, %q62, %q72) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i75 = arith.addi %i25, %const_14 : index
        %s76 = memref.load %values[%i75] : memref<?xi32>
        %w77 = vector.broadcast %s76 : i32 to vector<16xi32>
        %q78 = vector.bitcast %w77 : vector<16xi32> to vector<32xbf16>
        %d79 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d49, %q60, %q78) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d80 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d50, %q62, %q78) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i81 = arith.addi %i25, %const_15 : index
        %s82 = memref.load %values[%i81] : memref<?xi32>
        %w83 = vector.broadcast %s82 : i32 to vector<16xi32>
        %q84 = vector.bitcast %w83 : vector<16xi32> to vector<32xbf16>
        %d85 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d55, %q60, %q84) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d86 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d56, %q62, %q84) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        scf.yield %d67, %d68, %d73, %d74, %d79, %d80, %d85, %d86 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %i87 = arith.muli %row5, %const_16 : index
      %i88 = arith.addi %i3, %i87 : index
      %i89 = arith.addi %i88, %const_8 : index
      vector.store %r20#0, %ys[%i89] : memref<?xf32>, vector<16xf32>
      %i90 = arith.addi %i88, %const_2 : index
      vector.store %r20#1, %ys[%i90] : memref<?xf32>, vector<16xf32>
      %i91 = arith.addi %i88, %const_11 : index
      vector.store %r20#2, %ys[%i91] : memref<?xf32>, vector<16xf32>
      %i92 = arith.addi %i88, %const_17 : index
      vector.store %r20#3, %ys[%i92] : memref<?xf32>, vector<16xf32>
      %i93 = arith.addi %i88, %const_5 : index
      vector.store %r20#4, %ys[%i93] : memref<?xf32>, vector<16xf32>
      %i94 = arith.addi %i88, %const_18 : index
      vector.store %r20#5, %ys[%i94] : memref<?xf32>, vector<16xf32>
      %i95 = arith.addi %i88, %const_19 : index
      vector.store %r20#6, %ys[%i95] : memref<?xf32>, vector<16xf32>
      %i96 = arith.addi %i88, %const_20 : index
      vector.store %r20#7, %ys[%i96] : memref<?xf32>, vector<16xf32>
    }
    %p97 = arith.cmpi sgt, %row_hi, %const_0 : index
    scf.if %p97 {
      %s98 = memref.load %row_start[%const_0] : memref<?xi32>
      %i99 = arith.index_castui %s98 : i32 to index
      %i100 = arith.addi %const_0, %const_3 : index
      %s101 = memref.load %row_start[%i100] : memref<?xi32>
      %i102 = arith.index_castui %s101 : i32 to index
      %r112:8 = scf.for %g103 = %i99 to %i102 step %const_3 iter_args(%a104 = %const_4, %a105 = %const_4, %a106 = %const_4, %a107 = %const_4, %a108 = %const_4, %a109 = %const_4, %a110 = %const_4, %a111 = %const_4) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
        %s113 = memref.load %columns[%g103] : memref<?xi32>
        %i114 = arith.index_castui %s113 : i32 to index
        %i115 = arith.muli %i114, %const_5 : index
        %i116 = arith.addi %i2, %i115 : index
        %i117 = arith.muli %g103, %const_6 : index
        %i118 = arith.addi %i117, %const_7 : index
        memref.prefetch %values[%i118], read, locality<3>, data : memref<?xi32>
        %i119 = arith.addi %i116, %const_8 : index
        %i120 = arith.addi %i116, %const_1 : index
        %x121 = vector.load %xs[%i119] : memref<?xi32>, vector<16xi32>
        %q122 = vector.bitcast %x121 : vector<16xi32> to vector<32xbf16>
        %x123 = vector.load %xs[%i120] : memref<?xi32>, vector<16xi32>
        %q124 = vector.bitcast %x123 : vector<16xi32> to vector<32xbf16>
        %i125 = arith.addi %i117, %const_8 : index
        %s126 = memref.load %values[%i125] : memref<?xi32>
        %w127 = vector.broadcast %s126 : i32 to vector<16xi32>
        %q128 = vector.bitcast %w127 : vector<16xi32> to vector<32xbf16>
        %d129 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a104, %q122, %q128) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d130 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a105, %q124, %q128) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i131 = arith.addi %i117, %const_0 : index
        %s132 = memref.load %values[%i131] : memref<?xi32>
        %w133 = vector.broadcast %s132 : i32 to vector<16xi32>
        %q134 = vector.bitcast %w133 : vector<16xi32> to vector<32xbf16>
        %d135 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a106, %q122, %q134) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d136 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a107, %q124, %q134) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i137 = arith.addi %i117, %const_9 : index
        %s138 = memref.load %values[%i137] : memref<?xi32>
        %w139 = vector.broadcast %s138 : i32 to vector<16xi32>
        %q140 = vector.bitcast %w139 : vector<16xi32> to vector<32xbf16>
        %d141 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a108, %q122, %q140) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d142 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a109, %q124, %q140) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i143 = arith.addi %i117, %const_10 : index
        %s144 = memref.load %values[%i143] : memref<?xi32>
        %w145 = vector.broadcast %s144 : i32 to vector<16xi32>
        %q146 = vector.bitcast %w145 : vector<16xi32> to vector<32xbf16>
        %d147 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a110, %q122, %q146) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d148 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%a111, %q124, %q146) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i149 = arith.addi %i116, %const_11 : index
        %i150 = arith.addi %i116, %const_12 : index
        %x151 = vector.load %xs[%i149] : memref<?xi32>, vector<16xi32>
        %q152 = vector.bitcast %x151 : vector<16xi32> to vector<32xbf16>
        %x153 = vector.load %xs[%i150] : memref<?xi32>, vector<16xi32>
        %q154 = vector.bitcast %x153 : vector<16xi32> to vector<32xbf16>
        %i155 = arith.addi %i117, %const_3 : index
        %s156 = memref.load %values[%i155] : memref<?xi32>
        %w157 = vector.broadcast %s156 : i32 to vector<16xi32>
        %q158 = vector.bitcast %w157 : vector<16xi32> to vector<32xbf16>
        %d159 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d129, %q152, %q158) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d160 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d130, %q154, %q158) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i161 = arith.addi %i117, %const_13 : index
        %s162 = memref.load %values[%i161] : memref<?xi32>
        %w163 = vector.broadcast %s162 : i32 to vector<16xi32>
        %q164 = vector.bitcast %w163 : vector<16xi32> to vector<32xbf16>
        %d165 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d135, %q152, %q164) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d166 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d136, %q154, %q164) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i167 = arith.addi %i117, %const_14 : index
        %s168 = memref.load %values[%i167] : memref<?xi32>
        %w169 = vector.broadcast %s168 : i32 to vector<16xi32>
        %q170 = vector.bitcast %w169 : vector<16xi32> to vector<32xbf16>
        %d171 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d141, %q152, %q170) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d172 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d142, %q154, %q170) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %i173 = arith.addi %i117, %const_15 : index
        %s174 = memref.load %values[%i173] : memref<?xi32>
        %w175 = vector.broadcast %s174 : i32 to vector<16xi32>
        %q176 = vector.bitcast %w175 : vector<16xi32> to vector<32xbf16>
        %d177 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d147, %q152, %q176) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        %d178 = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%d148, %q154, %q176) : (vector<16xf32>, vector<32xbf16>, vector<32xbf16>) -> vector<16xf32>
        scf.yield %d159, %d160, %d165, %d166, %d171, %d172, %d177, %d178 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %i179 = arith.muli %const_0, %const_16 : index
      %i180 = arith.addi %i3, %i179 : index
      %i181 = arith.addi %i180, %const_8 : index
      vector.store %r112#0, %ys[%i181] : memref<?xf32>, vector<16xf32>
      %i182 = arith.addi %i180, %const_2 : index
      vector.store %r112#1, %ys[%i182] : memref<?xf32>, vector<16xf32>
      %i183 = arith.addi %i180, %const_11 : index
      vector.store %r112#2, %ys[%i183] : memref<?xf32>, vector<16xf32>
      %i184 = arith.addi %i180, %const_17 : index
      vector.store %r112#3, %ys[%i184] : memref<?xf32>, vector<16xf32>
    }
  }
  return
}
