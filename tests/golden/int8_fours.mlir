func.func @_mlir_fours8(%q_ptr: memref<1xi8>, %x_scale_ptr: memref<1xf32>, %values_ptr: memref<1xi8>, %columns_ptr: memref<1xi8>, %first_ptr: memref<1xi16>, %start_ptr: memref<1xi64>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %group_lo: index, %group_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 2 : index
  %const_4 = arith.constant 192 : index
  %const_5 = arith.constant dense<0> : vector<16xi32>
  %const_6 = arith.constant 64 : index
  %const_7 = arith.constant 2048 : index
  %const_8 = arith.constant 22 : index
  %const_9 = arith.constant dense<0.0> : vector<16xf32>
  %const_10 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %first = memref.reinterpret_cast %first_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi16> to memref<?xi16>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi64> to memref<?xi64>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  scf.for %group1 = %group_lo to %group_hi step %const_0 {
    %s2 = memref.load %start[%group1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %i4 = arith.addi %group1, %const_0 : index
    %s5 = memref.load %start[%i4] : memref<?xi64>
    %i6 = arith.index_cast %s5 : i64 to index
    %i7 = arith.muli %group1, %const_1 : index
    %i8 = arith.subi %m, %const_2 : index
    %i9 = arith.divui %i8, %const_3 : index
    %i10 = arith.muli %i9, %const_3 : index
    %i11 = arith.addi %const_2, %i10 : index
    scf.for %token12 = %const_2 to %i11 step %const_3 {
      %i13 = arith.muli %token12, %const_4 : index
      %r19:4 = scf.for %slot14 = %i3 to %i6 step %const_3 iter_args(%a15 = %const_5, %a16 = %const_5, %a17 = %const_5, %a18 = %const_5) -> (vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
        %i20 = arith.addi %slot14, %const_2 : index
        %i21 = arith.muli %i20, %const_6 : index
        %x22 = vector.load %values[%i21] : memref<?xi8>, vector<64xi8>
        %x23 = vector.load %columns[%i21] : memref<?xi8>, vector<64xi8>
        %i24 = arith.addi %i21, %const_7 : index
        memref.prefetch %values[%i24], read, locality<3>, data : memref<?xi8>
        %i25 = arith.addi %i21, %const_7 : index
        memref.prefetch %columns[%i25], read, locality<3>, data : memref<?xi8>
        %s26 = memref.load %first[%i20] : memref<?xi16>
        %i27 = arith.index_castui %s26 : i16 to index
        %i28 = arith.muli %i27, %const_1 : index
        %i29 = arith.addi %i13, %i28 : index
        %i30 = arith.addi %i29, %const_2 : index
        %i31 = arith.addi %i30, %const_2 : index
        %x32 = vector.load %q[%i31] : memref<?xi8>, vector<64xi8>
        %i33 = arith.addi %i30, %const_6 : index
        %x34 = vector.load %q[%i33] : memref<?xi8>, vector<64xi8>
        %p35 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x32, %x23, %x34) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d36 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a15, %p35, %x22) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i37 = arith.addi %i29, %const_4 : index
        %i38 = arith.addi %i37, %const_2 : index
        %x39 = vector.load %q[%i38] : memref<?xi8>, vector<64xi8>
        %i40 = arith.addi %i37, %const_6 : index
        %x41 = vector.load %q[%i40] : memref<?xi8>, vector<64xi8>
        %p42 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x39, %x23, %x41) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d43 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a17, %p42, %x22) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i44 = arith.addi %slot14, %const_0 : index
        %i45 = arith.muli %i44, %const_6 : index
        %x46 = vector.load %values[%i45] : memref<?xi8>, vector<64xi8>
        %x47 = vector.load %columns[%i45] : memref<?xi8>, vector<64xi8>
        %i48 = arith.addi %i45, %const_7 : index
        memref.prefetch %values[%i48], read, locality<3>, data : memref<?xi8>
        %i49 = arith.addi %i45, %const_7 : index
        memref.prefetch %columns[%i49], read, locality<3>, data : memref<?xi8>
        %s50 = memref.load %first[%i44] : memref<?xi16>
        %i51 = arith.index_castui %s50 : i16 to index
        %i52 = arith.muli %i51, %const_1 : index
        %i53 = arith.addi %i13, %i52 : index
        %i54 = arith.addi %i53, %const_2 : index
        %i55 = arith.addi %i54, %const_2 : index
        %x56 = vector.load %q[%i55] : memref<?xi8>, vector<64xi8>
        %i57 = arith.addi %i54, %const_6 : index
        %x58 = vector.load %q[%i57] : memref<?xi8>, vector<64xi8>
        %p59 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x56, %x47, %x58) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d60 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a16, %p59, %x46) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i61 = arith.addi %i53, %const_4 : index
        %i62 = arith.addi %i61, %const_2 : index
        %x63 = vector.load %q[%i62] : memref<?xi8>, vector<64xi8>
        %i64 = arith.addi %i61, %const_6 : index
        %x65 = vector.load %q[%i64] : memref<?xi8>, vector<64xi8>
        %p66 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x63, %x47, %x65) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d67 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a18, %p66, %x46) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d36, %d60, %d43, %d67 : vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
      }
      %s68 = arith.addi %r19#0, %r19#1 : vector<16xi32>
      %s69 = arith.addi %r19#2, %r19#3 : vector<16xi32>
      %i70 = arith.subi %const_8, %i7 : index
      %m71 = vector.create_mask %i70 : vector<16xi1>
      %b72 = vector.maskedload %shift[%i7], %m71, %const_5 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
      %b73 = vector.maskedload %weight_scale[%i7], %m71, %const_9 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %b74 = vector.maskedload %bias[%i7], %m71, %const_9 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %i75 = arith.addi %token12, %const_2 : index
      %s76 = arith.addi %s68, %b72 : vector<16xi32>
      %y77 = arith.sitofp %s76 : vector<16xi32> to vector<16xf32>
      %s78 = memref.load %x_scale[%i75] : memref<?xf32>
      %w79 = vector.broadcast %s78 : f32 to vector<16xf32>
      %y80 = arith.mulf %y77, %b73 : vector<16xf32>
      %y81 = arith.mulf %y80, %w79 : vector<16xf32>
      %y82 = arith.addf %y81, %b74 : vector<16xf32>
      %i83 = arith.muli %i75, %const_8 : index
      %i84 = arith.addi %i83, %i7 : index
      vector.maskedstore %y[%i84], %m71, %y82 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      %i85 = arith.addi %token12, %const_0 : index
      %s86 = arith.addi %s69, %b72 : vector<16xi32>
      %y87 = arith.sitofp %s86 : vector<16xi32> to vector<16xf32>
      %s88 = memref.load %x_scale[%i85] : memref<?xf32>
      %w89 = vector.broadcast %s88 : f32 to vector<16xf32>
      %y90 = arith.mulf %y87, %b73 : vector<16xf32>
      %y91 = arith.mulf %y90, %w89 : vector<16xf32>
      %y92 = arith.addf %y91, %b74 : vector<16xf32>
      %i93 = arith.muli %i85, %const_8 : index
      %i94 = arith.addi %i93, %i7 : index
      vector.maskedstore %y[%i94], %m71, %y92 : memref<?xf32>, vector<16xi1>, vector<16xf32>
    }
    scf.for %token95 = %i11 to %m step %const_0 {
      %i96 = arith.muli %token95, %const_4 : index
      %r100:2 = scf.for %slot97 = %i3 to %i6 step %const_3 iter_args(%a98 = %const_5, %a99 = %const_5) -> (vector<16xi32>, vector<16xi32>) {
        %i101 = arith.addi %slot97, %const_2 : index
        %i102 = arith.muli %i101, %const_6 : index
        %x103 = vector.load %values[%i102] : memref<?xi8>, vector<64xi8>
        %x104 = vector.load %columns[%i102] : memref<?xi8>, vector<64xi8>
        %i105 = arith.addi %i102, %const_7 : index
        memref.prefetch %values[%i105], read, locality<3>, data : memref<?xi8>
        %i106 = arith.addi %i102, %const_7 : index
        memref.prefetch %columns[%i106], read, locality<3>, data : memref<?xi8>
        %s107 = memref.load %first[%i101] : memref<?xi16>
        %i108 = arith.index_castui %s107 : i16 to index
        %i109 = arith.muli %i108, %const_1 : index
        %i110 = arith.addi %i96, %i109 : index
        %i111 = arith.addi %i110, %const_2 : index
        %i112 = arith.addi %i111, %const_2 : index
        %x113 = vector.load %q[%i112] : memref<?xi8>, vector<64xi8>
        %i114 = arith.addi %i111, %const_6 : index
        %x115 = vector.load %q[%i114] : memref<?xi8>, vector<64xi8>
        %p116 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x113, %x104, %x115) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d117 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a98, %p116, %x103) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i118 = arith.addi %slot97, %const_0 : index
        %i119 = arith.muli %i118, %const_6 : index
        %x120 = vector.load %values[%i119] : memref<?xi8>, vector<64xi8>
        %x121 = vector.load %columns[%i119] : memref<?xi8>, vector<64xi8>
        %i122 = arith.addi %i119, %const_7 : index
        memref.prefetch %values[%i122], read, locality<3>, data : memref<?xi8>
        %i123 = arith.addi %i119, %const_7 : index
        memref.prefetch %columns[%i123], read, locality<3>, data : memref<?xi8>
        %s124 = memref.load %first[%i118] : memref<?xi16>
        %i125 = arith.index_castui %s124 : i16 to index
        %i126 = arith.muli %i125, %const_1 : index
        %i127 = arith.addi %i96, %i126 : index
        %i128 = arith.addi %i127, %const_2 : index
        %i129 = arith.addi %i128, %const_2 : index
        %x130 = vector.load %q[%i129] : memref<?xi8>, vector<64xi8>
        %i131 = arith.addi %i128, %const_6 : index
        %x132 = vector.load %q[%i131] : memref<?xi8>, vector<64xi8>
        %p133 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x130, %x121, %x132) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d134 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a99, %p133, %x120) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d117, %d134 : vector<16xi32>, vector<16xi32>
      }
      %s135 = arith.addi %r100#0, %r100#1 : vector<16xi32>
      %i136 = arith.subi %const_8, %i7 : index
      %m137 = vector.create_mask %i136 : vector<16xi1>
      %b138 = vector.maskedload %shift[%i7], %m137, %const_5 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
      %b139 = vector.maskedload %weight_scale[%i7], %m137, %const_9 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %b140 = vector.maskedload %bias[%i7], %m137, %const_9 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %i141 = arith.addi %token95, %const_2 : index
      %s142 = arith.addi %s135, %b138 : vector<16xi32>
      %y143 = arith.sitofp %s142 : vector<16xi32> to vector<16xf32>
      %s144 = memref.load %x_scale[%i141] : memref<?xf32>
      %w145 = vector.broadcast %s144 : f32 to vector<16xf32>
      %y146 = arith.mulf %y143, %b139 : vector<16xf32>
      %y147 = arith.mulf %y146, %w145 : vector<16xf32>
      %y148 = arith.addf %y147, %b140 : vector<16xf32>
      %i149 = arith.muli %i141, %const_8 : index
      %i150 = arith.addi %i149, %i7 : index
      vector.maskedstore %y[%i150], %m137, %y148 : memref<?xf32>, vector<16xi1>, vector<16xf32>
    }
  }
  return
}
