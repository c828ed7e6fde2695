func.func @_mlir_nmrows(%x_ptr: memref<1xf32>, %values_ptr: memref<1xf16>, %control_ptr: memref<1xi32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf16>, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant dense<0.0> : vector<16xf32>
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 2 : index
  %const_5 = arith.constant 256 : index
  %const_6 = arith.constant 32 : index
  %const_7 = arith.constant 1024 : index
  %const_8 = arith.constant dense<0> : vector<16xi32>
  %const_9 = arith.constant dense<2> : vector<16xi32>
  %const_10 = arith.constant 4 : index
  %const_11 = arith.constant dense<4> : vector<16xi32>
  %const_12 = arith.constant 48 : index
  %const_13 = arith.constant dense<6> : vector<16xi32>
  %const_14 = arith.constant 8 : index
  %const_15 = arith.constant 64 : index
  %const_16 = arith.constant dense<8> : vector<16xi32>
  %const_17 = arith.constant 80 : index
  %const_18 = arith.constant dense<10> : vector<16xi32>
  %const_19 = arith.constant 12 : index
  %const_20 = arith.constant 96 : index
  %const_21 = arith.constant dense<12> : vector<16xi32>
  %const_22 = arith.constant 112 : index
  %const_23 = arith.constant dense<14> : vector<16xi32>
  %const_24 = arith.constant 128 : index
  %const_25 = arith.constant dense<16> : vector<16xi32>
  %const_26 = arith.constant 144 : index
  %const_27 = arith.constant dense<18> : vector<16xi32>
  %const_28 = arith.constant 20 : index
  %const_29 = arith.constant 160 : index
  %const_30 = arith.constant dense<20> : vector<16xi32>
  %const_31 = arith.constant 176 : index
  %const_32 = arith.constant dense<22> : vector<16xi32>
  %const_33 = arith.constant 24 : index
  %const_34 = arith.constant 192 : index
  %const_35 = arith.constant dense<24> : vector<16xi32>
  %const_36 = arith.constant 208 : index
  %const_37 = arith.constant dense<26> : vector<16xi32>
  %const_38 = arith.constant 28 : index
  %const_39 = arith.constant 224 : index
  %const_40 = arith.constant dense<28> : vector<16xi32>
  %const_41 = arith.constant 240 : index
  %const_42 = arith.constant dense<30> : vector<16xi32>
  %const_43 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_43], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_43], strides: [1] : memref<1xf16> to memref<?xf16>
  %control = memref.reinterpret_cast %control_ptr to offset: [0], sizes: [%const_43], strides: [1] : memref<1xi32> to memref<?xi32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_43], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_43], strides: [1] : memref<1xf16> to memref<?xf16>
  scf.for %rows1 = %row_lo to %row_hi step %const_1 {
    %r7:4 = scf.for %word2 = %const_3 to %const_4 step %const_1 iter_args(%a3 = %const_2, %a4 = %const_2, %a5 = %const_2, %a6 = %const_2) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
      %i8 = arith.muli %rows1, %const_4 : index
      %i9 = arith.addi %i8, %word2 : index
      %i10 = arith.muli %i9, %const_0 : index
      %x11 = vector.load %control[%i10] : memref<?xi32>, vector<16xi32>
      %i12 = arith.muli %i9, %const_5 : index
      %i13 = arith.muli %word2, %const_6 : index
      %i14 = arith.addi %i13, %const_3 : index
      %i15 = arith.addi %i14, %const_3 : index
      %x16 = vector.load %x[%i15] : memref<?xf32>, vector<4xf32>
      %x17 = vector.shuffle %x16, %x16 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i18 = arith.addi %i12, %const_3 : index
      %x19 = vector.load %values[%i18] : memref<?xf16>, vector<16xf16>
      %w20 = arith.extf %x19 : vector<16xf16> to vector<16xf32>
      %i21 = arith.addi %i18, %const_7 : index
      memref.prefetch %values[%i21], read, locality<3>, data : memref<?xf16>
      %p22 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x17, %x11) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f23 = vector.fma %w20, %p22, %a3 : vector<16xf32>
      %i24 = arith.addi %i12, %const_0 : index
      %x25 = vector.load %values[%i24] : memref<?xf16>, vector<16xf16>
      %w26 = arith.extf %x25 : vector<16xf16> to vector<16xf32>
      %i27 = arith.addi %i24, %const_7 : index
      memref.prefetch %values[%i27], read, locality<3>, data : memref<?xf16>
      %q28 = arith.shrui %x11, %const_9 : vector<16xi32>
      %p29 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x17, %q28) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f30 = vector.fma %w26, %p29, %a4 : vector<16xf32>
      %i31 = arith.addi %i13, %const_10 : index
      %i32 = arith.addi %i31, %const_3 : index
      %x33 = vector.load %x[%i32] : memref<?xf32>, vector<4xf32>
      %x34 = vector.shuffle %x33, %x33 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i35 = arith.addi %i12, %const_6 : index
      %x36 = vector.load %values[%i35] : memref<?xf16>, vector<16xf16>
      %w37 = arith.extf %x36 : vector<16xf16> to vector<16xf32>
      %i38 = arith.addi %i35, %const_7 : index
      memref.prefetch %values[%i38], read, locality<3>, data : memref<?xf16>
      %q39 = arith.shrui %x11, %const_11 : vector<16xi32>
      %p40 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x34, %q39) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f41 = vector.fma %w37, %p40, %a5 : vector<16xf32>
      %i42 = arith.addi %i12, %const_12 : index
      %x43 = vector.load %values[%i42] : memref<?xf16>, vector<16xf16>
      %w44 = arith.extf %x43 : vector<16xf16> to vector<16xf32>
      %i45 = arith.addi %i42, %const_7 : index
      memref.prefetch %values[%i45], read, locality<3>, data : memref<?xf16>
      %q46 = arith.shrui %x11, %const_13 : vector<16xi32>
      %p47 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x34, %q46) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f48 = vector.fma %w44, %p47, %a6 : vector<16xf32>
      %i49 = arith.addi %i13, %const_14 : index
      %i50 = arith.addi %i49, %const_3 : index
      %x51 = vector.load %x[%i50] : memref<?xf32>, vector<4xf32>
      %x52 = vector.shuffle %x51, %x51 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i53 = arith.addi %i12, %const_15 : index
      %x54 = vector.load %values[%i53] : memref<?xf16>, vector<16xf16>
      %w55 = arith.extf %x54 : vector<16xf16> to vector<16xf32>
      %i56 = arith.addi %i53, %const_7 : index
      memref.prefetch %values[%i56], read, locality<3>, data : memref<?xf16>
      %q57 = arith.shrui %x11, %const_16 : vector<16xi32>
      %p58 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x52, %q57) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f59 = vector.fma %w55, %p58, %f23 : vector<16xf32>
      %i60 = arith.addi %i12, %const_17 : index
      %x61 = vector.load %values[%i60] : memref<?xf16>, vector<16xf16>
      %w62 = arith.extf %x61 : vector<16xf16> to vector<16xf32>
      %i63 = arith.addi %i60, %const_7 : index
      memref.prefetch %values[%i63], read, locality<3>, data : memref<?xf16>
      %q64 = arith.shrui %x11, %const_18 : vector<16xi32>
      %p65 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x52, %q64) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f66 = vector.fma %w62, %p65, %f30 : vector<16xf32>
      %i67 = arith.addi %i13, %const_19 : index
      %i68 = arith.addi %i67, %const_3 : index
      %x69 = vector.load %x[%i68] : memref<?xf32>, vector<4xf32>
      %x70 = vector.shuffle %x69, %x69 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i71 = arith.addi %i12, %const_20 : index
      %x72 = vector.load %values[%i71] : memref<?xf16>, vector<16xf16>
      %w73 = arith.extf %x72 : vector<16xf16> to vector<16xf32>
      %i74 = arith.addi %i71, %const_7 : index
      memref.prefetch %values[%i74], read, locality<3>, data : memref<?xf16>
      %q75 = arith.shrui %x11, %const_21 : vector<16xi32>
      %p76 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x70, %q75) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f77 = vector.fma %w73, %p76, %f41 : vector<16xf32>
      %i78 = arith.addi %i12, %const_22 : index
      %x79 = vector.load %values[%i78] : memref<?xf16>, vector<16xf16>
      %w80 = arith.extf %x79 : vector<16xf16> to vector<16xf32>
      %i81 = arith.addi %i78, %const_7 : index
      memref.prefetch %values[%i81], read, locality<3>, data : memref<?xf16>
      %q82 = arith.shrui %x11, %const_23 : vector<16xi32>
      %p83 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x70, %q82) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f84 = vector.fma %w80, %p83, %f48 : vector<16xf32>
      %i85 = arith.addi %i13, %const_0 : index
      %i86 = arith.addi %i85, %const_3 : index
      %x87 = vector.load %x[%i86] : memref<?xf32>, vector<4xf32>
      %x88 = vector.shuffle %x87, %x87 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i89 = arith.addi %i12, %const_24 : index
      %x90 = vector.load %values[%i89] : memref<?xf16>, vector<16xf16>
      %w91 = arith.extf %x90 : vector<16xf16> to vector<16xf32>
      %i92 = arith.addi %i89, %const_7 : index
      memref.prefetch %values[%i92], read, locality<3>, data : memref<?xf16>
      %q93 = arith.shrui %x11, %const_25 : vector<16xi32>
      %p94 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x88, %q93) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f95 = vector.fma %w91, %p94, %f59 : vector<16xf32>
      %i96 = arith.addi %i12, %const_26 : index
      %x97 = vector.load %values[%i96] : memref<?xf16>, vector<16xf16>
      %w98 = arith.extf %x97 : vector<16xf16> to vector<16xf32>
      %i99 = arith.addi %i96, %const_7 : index
      memref.prefetch %values[%i99], read, locality<3>, data : memref<?xf16>
      %q100 = arith.shrui %x11, %const_27 : vector<16xi32>
      %p101 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x88, %q100) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f102 = vector.fma %w98, %p101, %f66 : vector<16xf32>
      %i103 = arith.addi %i13, %const_28 : index
      %i104 = arith.addi %i103, %const_3 : index
      %x105 = vector.load %x[%i104] : memref<?xf32>, vector<4xf32>
      %x106 = vector.shuffle %x105, %x105 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i107 = arith.addi %i12, %const_29 : index
      %x108 = vector.load %values[%i107] : memref<?xf16>, vector<16xf16>
      %w109 = arith.extf %x108 : vector<16xf16> to vector<16xf32>
      %i110 = arith.addi %i107, %const_7 : index
      memref.prefetch %values[%i110], read, locality<3>, data : memref<?xf16>
      %q111 = arith.shrui %x11, %const_30 : vector<16xi32>
      %p112 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x106, %q111) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f113 = vector.fma %w109, %p112, %f77 : vector<16xf32>
      %i114 = arith.addi %i12, %const_31 : index
      %x115 = vector.load %values[%i114] : memref<?xf16>, vector<16xf16>
      %w116 = arith.extf %x115 : vector<16xf16> to vector<16xf32>
      %i117 = arith.addi %i114, %const_7 : index
      memref.prefetch %values[%i117], read, locality<3>, data : memref<?xf16>
      %q118 = arith.shrui %x11, %const_32 : vector<16xi32>
      %p119 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x106, %q118) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f120 = vector.fma %w116, %p119, %f84 : vector<16xf32>
      %i121 = arith.addi %i13, %const_33 : index
      %i122 = arith.addi %i121, %const_3 : index
      %x123 = vector.load %x[%i122] : memref<?xf32>, vector<4xf32>
      %x124 = vector.shuffle %x123, %x123 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i125 = arith.addi %i12, %const_34 : index
      %x126 = vector.load %values[%i125] : memref<?xf16>, vector<16xf16>
      %w127 = arith.extf %x126 : vector<16xf16> to vector<16xf32>
      %i128 = arith.addi %i125, %const_7 : index
      memref.prefetch %values[%i128], read, locality<3>, data : memref<?xf16>
      %q129 = arith.shrui %x11, %const_35 : vector<16xi32>
      %p130 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x124, %q129) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f131 = vector.fma %w127, %p130, %f95 : vector<16xf32>
      %i132 = arith.addi %i12, %const_36 : index
      %x133 = vector.load %values[%i132] : memref<?xf16>, vector<16xf16>
      %w134 = arith.extf %x133 : vector<16xf16> to vector<16xf32>
      %i135 = arith.addi %i132, %const_7 : index
      memref.prefetch %values[%i135], read, locality<3>, data : memref<?xf16>
      %q136 = arith.shrui %x11, %const_37 : vector<16xi32>
      %p137 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x124, %q136) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f138 = vector.fma %w134, %p137, %f102 : vector<16xf32>
      %i139 = arith.addi %i13, %const_38 : index
      %i140 = arith.addi %i139, %const_3 : index
      %x141 = vector.load %x[%i140] : memref<?xf32>, vector<4xf32>
      %x142 = vector.shuffle %x141, %x141 [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3] : vector<4xf32>, vector<4xf32>
      %i143 = arith.addi %i12, %const_39 : index
      %x144 = vector.load %values[%i143] : memref<?xf16>, vector<16xf16>
      %w145 = arith.extf %x144 : vector<16xf16> to vector<16xf32>
      %i146 = arith.addi %i143, %const_7 : index
      memref.prefetch %values[%i146], read, locality<3>, data : memref<?xf16>
      %q147 = arith.shrui %x11, %const_40 : vector<16xi32>
      %p148 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x142, %q147) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f149 = vector.fma %w145, %p148, %f113 : vector<16xf32>
      %i150 = arith.addi %i12, %const_41 : index
      %x151 = vector.load %values[%i150] : memref<?xf16>, vector<16xf16>
      %w152 = arith.extf %x151 : vector<16xf16> to vector<16xf32>
      %i153 = arith.addi %i150, %const_7 : index
      memref.prefetch %values[%i153], read, locality<3>, data : memref<?xf16>
      %q154 = arith.shrui %x11, %const_42 : vector<16xi32>
      %p155 = llvm.call_intrinsic "llvm.x86.avx512.vpermilvar.ps.512"(%x142, %q154) : (vector<16xf32>, vector<16xi32>) -> vector<16xf32>
      %f156 = vector.fma %w152, %p155, %f120 : vector<16xf32>
      scf.yield %f131, %f138, %f149, %f156 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
    }
    %f157 = arith.addf %r7#0, %r7#1 : vector<16xf32>
    %f158 = arith.addf %r7#2, %r7#3 : vector<16xf32>
    %f159 = arith.addf %f157, %f158 : vector<16xf32>
    %i160 = arith.muli %rows1, %const_0 : index
    %i161 = arith.subi %const_28, %i160 : index
    %m162 = vector.create_mask %i161 : vector<16xi1>
    %b163 = vector.maskedload %bias[%i160], %m162, %const_2 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %y164 = arith.addf %f159, %b163 : vector<16xf32>
    %m165 = arith.cmpf ogt, %const_2, %y164 : vector<16xf32>
    %e166 = arith.select %m165, %const_2, %y164 : vector<16xi1>, vector<16xf32>
    %i167 = arith.addi %i160, %const_3 : index
    %y168 = arith.truncf %e166 : vector<16xf32> to vector<16xf16>
    vector.maskedstore %y[%i167], %m162, %y168 : memref<?xf16>, vector<16xi1>, vector<16xf16>
  }
  return
}
