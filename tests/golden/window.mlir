func.func @_mlir_window(%x_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %columns_ptr: memref<1xi8>, %first_ptr: memref<1xi16>, %start_ptr: memref<1xi64>, %order_ptr: memref<1xi32>, %bias_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %group_lo: index, %group_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 37 : index
  %const_3 = arith.constant dense<0> : vector<16xi32>
  %const_4 = arith.constant 0 : index
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant 160 : index
  %const_7 = arith.constant dense<0.0> : vector<16xf32>
  %const_8 = arith.constant 1024 : index
  %const_9 = arith.constant dense<32> : vector<16xi32>
  %const_10 = arith.constant 32 : index
  %const_11 = arith.constant 48 : index
  %const_12 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %first = memref.reinterpret_cast %first_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi16> to memref<?xi16>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi64> to memref<?xi64>
  %order = memref.reinterpret_cast %order_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi32> to memref<?xi32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  scf.for %group1 = %group_lo to %group_hi step %const_0 {
    %s2 = memref.load %start[%group1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %i4 = arith.addi %group1, %const_0 : index
    %s5 = memref.load %start[%i4] : memref<?xi64>
    %i6 = arith.index_cast %s5 : i64 to index
    %i7 = arith.muli %group1, %const_1 : index
    %i8 = arith.subi %const_2, %i7 : index
    %m9 = vector.create_mask %i8 : vector<16xi1>
    %v10 = vector.maskedload %order[%i7], %m9, %const_3 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
    %i11 = arith.subi %m, %const_4 : index
    %i12 = arith.divui %i11, %const_5 : index
    %i13 = arith.muli %i12, %const_5 : index
    %i14 = arith.addi %const_4, %i13 : index
    scf.for %token15 = %const_4 to %i14 step %const_5 {
      %i16 = arith.muli %token15, %const_6 : index
      %r22:4 = scf.for %slot17 = %i3 to %i6 step %const_5 iter_args(%a18 = %const_7, %a19 = %const_7, %a20 = %const_7, %a21 = %const_7) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
        %i23 = arith.addi %slot17, %const_4 : index
        %i24 = arith.muli %i23, %const_1 : index
        %x25 = vector.load %values[%i24] : memref<?xf32>, vector<16xf32>
        %b26 = arith.bitcast %x25 : vector<16xf32> to vector<16xi32>
        %m27 = arith.cmpi ne, %b26, %const_3 : vector<16xi32>
        %m28 = arith.andi %m27, %m9 : vector<16xi1>
        %x29 = vector.load %columns[%i24] : memref<?xi8>, vector<16xi8>
        %c30 = arith.extui %x29 : vector<16xi8> to vector<16xi32>
        %i31 = arith.addi %i24, %const_8 : index
        memref.prefetch %values[%i31], read, locality<3>, data : memref<?xf32>
        %i32 = arith.addi %i24, %const_8 : index
        memref.prefetch %columns[%i32], read, locality<3>, data : memref<?xi8>
        %s33 = memref.load %first[%i23] : memref<?xi16>
        %i34 = arith.index_castui %s33 : i16 to index
        %i35 = arith.muli %i34, %const_1 : index
        %i36 = arith.addi %i16, %i35 : index
        %c37 = arith.andi %c30, %const_9 : vector<16xi32>
        %m38 = arith.cmpi ne, %c37, %const_3 : vector<16xi32>
        %i39 = arith.addi %i36, %const_4 : index
        %i40 = arith.addi %i39, %const_4 : index
        %x41 = vector.load %x[%i40] : memref<?xf32>, vector<16xf32>
        %i42 = arith.addi %i39, %const_1 : index
        %x43 = vector.load %x[%i42] : memref<?xf32>, vector<16xf32>
        %p44 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x41, %c30, %x43) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i45 = arith.addi %i39, %const_10 : index
        %x46 = vector.load %x[%i45] : memref<?xf32>, vector<16xf32>
        %i47 = arith.addi %i39, %const_11 : index
        %x48 = vector.load %x[%i47] : memref<?xf32>, vector<16xf32>
        %p49 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x46, %c30, %x48) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p50 = arith.select %m38, %p49, %p44 : vector<16xi1>, vector<16xf32>
        %f51 = vector.fma %x25, %p50, %a18 : vector<16xf32>
        %f52 = arith.select %m28, %f51, %a18 : vector<16xi1>, vector<16xf32>
        %i53 = arith.addi %i36, %const_6 : index
        %i54 = arith.addi %i53, %const_4 : index
        %x55 = vector.load %x[%i54] : memref<?xf32>, vector<16xf32>
        %i56 = arith.addi %i53, %const_1 : index
        %x57 = vector.load %x[%i56] : memref<?xf32>, vector<16xf32>
        %p58 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x55, %c30, %x57) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i59 = arith.addi %i53, %const_10 : index
        %x60 = vector.load %x[%i59] : memref<?xf32>, vector<16xf32>
        %i61 = arith.addi %i53, %const_11 : index
        %x62 = vector.load %x[%i61] : memref<?xf32>, vector<16xf32>
        %p63 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x60, %c30, %x62) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p64 = arith.select %m38, %p63, %p58 : vector<16xi1>, vector<16xf32>
        %f65 = vector.fma %x25, %p64, %a20 : vector<16xf32>
        %f66 = arith.select %m28, %f65, %a20 : vector<16xi1>, vector<16xf32>
        %i67 = arith.addi %slot17, %const_0 : index
        %i68 = arith.muli %i67, %const_1 : index
        %x69 = vector.load %values[%i68] : memref<?xf32>, vector<16xf32>
        %b70 = arith.bitcast %x69 : vector<16xf32> to vector<16xi32>
        %m71 = arith.cmpi ne, %b70, %const_3 : vector<16xi32>
        %m72 = arith.andi %m71, %m9 : vector<16xi1>
        %x73 = vector.load %columns[%i68] : memref<?xi8>, vector<16xi8>
        %c74 = arith.extui %x73 : vector<16xi8> to vector<16xi32>
        %i75 = arith.addi %i68, %const_8 : index
        memref.prefetch %values[%i75], read, locality<3>, data : memref<?xf32>
        %i76 = arith.addi %i68, %const_8 : index
        memref.prefetch %columns[%i76], read, locality<3>, data : memref<?xi8>
        %s77 = memref.load %first[%i67] : memref<?xi16>
        %i78 = arith.index_castui %s77 : i16 to index
        %i79 = arith.muli %i78, %const_1 : index
        %i80 = arith.addi %i16, %i79 : index
        %c81 = arith.andi %c74, %const_9 : vector<16xi32>
        %m82 = arith.cmpi ne, %c81, %const_3 : vector<16xi32>
        %i83 = arith.addi %i80, %const_4 : index
        %i84 = arith.addi %i83, %const_4 : index
        %x85 = vector.load %x[%i84] : memref<?xf32>, vector<16xf32>
        %i86 = arith.addi %i83, %const_1 : index
        %x87 = vector.load %x[%i86] : memref<?xf32>, vector<16xf32>
        %p88 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x85, %c74, %x87) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i89 = arith.addi %i83, %const_10 : index
        %x90 = vector.load %x[%i89] : memref<?xf32>, vector<16xf32>
        %i91 = arith.addi %i83, %const_11 : index
        %x92 = vector.load %x[%i91] : memref<?xf32>, vector<16xf32>
        %p93 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x90, %c74, %x92) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p94 = arith.select %m82, %p93, %p88 : vector<16xi1>, vector<16xf32>
        %f95 = vector.fma %x69, %p94, %a19 : vector<16xf32>
        %f96 = arith.select %m72, %f95, %a19 : vector<16xi1>, vector<16xf32>
        %i97 = arith.addi %i80, %const_6 : index
        %i98 = arith.addi %i97, %const_4 : index
        %x99 = vector.load %x[%i98] : memref<?xf32>, vector<16xf32>
        %i100 = arith.addi %i97, %const_1 : index
        %x101 = vector.load %x[%i100] : memref<?xf32>, vector<16xf32>
        %p102 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x99, %c74, %x101) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i103 = arith.addi %i97, %const_10 : index
        %x104 = vector.load %x[%i103] : memref<?xf32>, vector<16xf32>
        %i105 = arith.addi %i97, %const_11 : index
        %x106 = vector.load %x[%i105] : memref<?xf32>, vector<16xf32>
        %p107 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x104, %c74, %x106) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p108 = arith.select %m82, %p107, %p102 : vector<16xi1>, vector<16xf32>
        %f109 = vector.fma %x69, %p108, %a21 : vector<16xf32>
        %f110 = arith.select %m72, %f109, %a21 : vector<16xi1>, vector<16xf32>
        scf.yield %f52, %f96, %f66, %f110 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %f111 = arith.addf %r22#0, %r22#1 : vector<16xf32>
      %f112 = arith.addf %r22#2, %r22#3 : vector<16xf32>
      %i113 = arith.addi %token15, %const_4 : index
      %i114 = arith.muli %i113, %const_2 : index
      %b115 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y116 = arith.addf %f111, %b115 : vector<16xf32>
      %m117 = arith.cmpf ogt, %const_7, %y116 : vector<16xf32>
      %e118 = arith.select %m117, %const_7, %y116 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i114] [%v10], %m9, %e118 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
      %i119 = arith.addi %token15, %const_0 : index
      %i120 = arith.muli %i119, %const_2 : index
      %b121 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y122 = arith.addf %f112, %b121 : vector<16xf32>
      %m123 = arith.cmpf ogt, %const_7, %y122 : vector<16xf32>
      %e124 = arith.select %m123, %const_7, %y122 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i120] [%v10], %m9, %e124 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
    }
    scf.for %token125 = %i14 to %m step %const_0 {
      %i126 = arith.muli %token125, %const_6 : index
      %r130:2 = scf.for %slot127 = %i3 to %i6 step %const_5 iter_args(%a128 = %const_7, %a129 = %const_7) -> (vector<16xf32>, vector<16xf32>) {
        %i131 = arith.addi %slot127, %const_4 : index
        %i132 = arith.muli %i131, %const_1 : index
        %x133 = vector.load %values[%i132] : memref<?xf32>, vector<16xf32>
        %b134 = arith.bitcast %x133 : vector<16xf32> to vector<16xi32>
        %m135 = arith.cmpi ne, %b134, %const_3 : vector<16xi32>
        %m136 = arith.andi %m135, %m9 : vector<16xi1>
        %x137 = vector.load %columns[%i132] : memref<?xi8>, vector<16xi8>
        %c138 = arith.extui %x137 : vector<16xi8> to vector<16xi32>
        %i139 = arith.addi %i132, %const_8 : index
        memref.prefetch %values[%i139], read, locality<3>, data : memref<?xf32>
        %i140 = arith.addi %i132, %const_8 : index
        memref.prefetch %columns[%i140], read, locality<3>, data : memref<?xi8>
        %s141 = memref.load %first[%i131] : memref<?xi16>
        %i142 = arith.index_castui %s141 : i16 to index
        %i143 = arith.muli %i142, %const_1 : index
        %i144 = arith.addi %i126, %i143 : index
        %c145 = arith.andi %c138, %const_9 : vector<16xi32>
        %m146 = arith.cmpi ne, %c145, %const_3 : vector<16xi32>
        %i147 = arith.addi %i144, %const_4 : index
        %i148 = arith.addi %i147, %const_4 : index
        %x149 = vector.load %x[%i148] : memref<?xf32>, vector<16xf32>
        %i150 = arith.addi %i147, %const_1 : index
        %x151 = vector.load %x[%i150] : memref<?xf32>, vector<16xf32>
        %p152 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x149, %c138, %x151) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i153 = arith.addi %i147, %const_10 : index
        %x154 = vector.load %x[%i153] : memref<?xf32>, vector<16xf32>
        %i155 = arith.addi %i147, %const_11 : index
        %x156 = vector.load %x[%i155] : memref<?xf32>, vector<16xf32>
        %p157 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x154, %c138, %x156) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p158 = arith.select %m146, %p157, %p152 : vector<16xi1>, vector<16xf32>
        %f159 = vector.fma %x133, %p158, %a128 : vector<16xf32>
        %f160 = arith.select %m136, %f159, %a128 : vector<16xi1>, vector<16xf32>
        %i161 = arith.addi %slot127, %const_0 : index
        %i162 = arith.muli %i161, %const_1 : index
        %x163 = vector.load %values[%i162] : memref<?xf32>, vector<16xf32>
        %b164 = arith.bitcast %x163 : vector<16xf32> to vector<16xi32>
        %m165 = arith.cmpi ne, %b164, %const_3 : vector<16xi32>
        %m166 = arith.andi %m165, %m9 : vector<16xi1>
        %x167 = vector.load %columns[%i162] : memref<?xi8>, vector<16xi8>
        %c168 = arith.extui %x167 : vector<16xi8> to vector<16xi32>
        %i169 = arith.addi %i162, %const_8 : index
        memref.prefetch %values[%i169], read, locality<3>, data : memref<?xf32>
        %i170 = arith.addi %i162, %const_8 : index
        memref.prefetch %columns[%i170], read, locality<3>, data : memref<?xi8>
        %s171 = memref.load %first[%i161] : memref<?xi16>
        %i172 = arith.index_castui %s171 : i16 to index
        %i173 = arith.muli %i172, %const_1 : index
        %i174 = arith.addi %i126, %i173 : index
        %c175 = arith.andi %c168, %const_9 : vector<16xi32>
        %m176 = arith.cmpi ne, %c175, %const_3 : vector<16xi32>
        %i177 = arith.addi %i174, %const_4 : index
        %i178 = arith.addi %i177, %const_4 : index
        %x179 = vector.load %x[%i178] : memref<?xf32>, vector<16xf32>
        %i180 = arith.addi %i177, %const_1 : index
        %x181 = vector.load %x[%i180] : memref<?xf32>, vector<16xf32>
        %p182 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x179, %c168, %x181) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i183 = arith.addi %i177, %const_10 : index
        %x184 = vector.load %x[%i183] : memref<?xf32>, vector<16xf32>
        %i185 = arith.addi %i177, %const_11 : index
        %x186 = vector.load %x[%i185] : memref<?xf32>, vector<16xf32>
        %p187 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x184, %c168, %x186) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p188 = arith.select %m176, %p187, %p182 : vector<16xi1>, vector<16xf32>
        %f189 = vector.fma %x163, %p188, %a129 : vector<16xf32>
        %f190 = arith.select %m166, %f189, %a129 : vector<16xi1>, vector<16xf32>
        scf.yield %f160, %f190 : vector<16xf32>, vector<16xf32>
      }
      %f191 = arith.addf %r130#0, %r130#1 : vector<16xf32>
      %i192 = arith.addi %token125, %const_4 : index
      %i193 = arith.muli %i192, %const_2 : index
      %b194 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y195 = arith.addf %f191, %b194 : vector<16xf32>
      %m196 = arith.cmpf ogt, %const_7, %y195 : vector<16xf32>
      %e197 = arith.select %m196, %const_7, %y195 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i193] [%v10], %m9, %e197 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
    }
  }
  return
}
