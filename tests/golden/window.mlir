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
  %const_9 = arith.constant 256 : index
  %const_10 = arith.constant dense<32> : vector<16xi32>
  %const_11 = arith.constant 32 : index
  %const_12 = arith.constant 48 : index
  %const_13 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi8> to memref<?xi8>
  %first = memref.reinterpret_cast %first_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi16> to memref<?xi16>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi64> to memref<?xi64>
  %order = memref.reinterpret_cast %order_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xi32> to memref<?xi32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_13], strides: [1] : memref<1xf32> to memref<?xf32>
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
        %i33 = arith.addi %i23, %const_9 : index
        memref.prefetch %first[%i33], read, locality<3>, data : memref<?xi16>
        %s34 = memref.load %first[%i23] : memref<?xi16>
        %i35 = arith.index_castui %s34 : i16 to index
        %i36 = arith.muli %i35, %const_1 : index
        %i37 = arith.addi %i16, %i36 : index
        %c38 = arith.andi %c30, %const_10 : vector<16xi32>
        %m39 = arith.cmpi ne, %c38, %const_3 : vector<16xi32>
        %i40 = arith.addi %i37, %const_4 : index
        %i41 = arith.addi %i40, %const_4 : index
        %x42 = vector.load %x[%i41] : memref<?xf32>, vector<16xf32>
        %i43 = arith.addi %i40, %const_1 : index
        %x44 = vector.load %x[%i43] : memref<?xf32>, vector<16xf32>
        %p45 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x42, %c30, %x44) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i46 = arith.addi %i40, %const_11 : index
        %x47 = vector.load %x[%i46] : memref<?xf32>, vector<16xf32>
        %i48 = arith.addi %i40, %const_12 : index
        %x49 = vector.load %x[%i48] : memref<?xf32>, vector<16xf32>
        %p50 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x47, %c30, %x49) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p51 = arith.select %m39, %p50, %p45 : vector<16xi1>, vector<16xf32>
        %f52 = vector.fma %x25, %p51, %a18 : vector<16xf32>
        %f53 = arith.select %m28, %f52, %a18 : vector<16xi1>, vector<16xf32>
        %i54 = arith.addi %i37, %const_6 : index
        %i55 = arith.addi %i54, %const_4 : index
        %x56 = vector.load %x[%i55] : memref<?xf32>, vector<16xf32>
        %i57 = arith.addi %i54, %const_1 : index
        %x58 = vector.load %x[%i57] : memref<?xf32>, vector<16xf32>
        %p59 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x56, %c30, %x58) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i60 = arith.addi %i54, %const_11 : index
        %x61 = vector.load %x[%i60] : memref<?xf32>, vector<16xf32>
        %i62 = arith.addi %i54, %const_12 : index
        %x63 = vector.load %x[%i62] : memref<?xf32>, vector<16xf32>
        %p64 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x61, %c30, %x63) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p65 = arith.select %m39, %p64, %p59 : vector<16xi1>, vector<16xf32>
        %f66 = vector.fma %x25, %p65, %a20 : vector<16xf32>
        %f67 = arith.select %m28, %f66, %a20 : vector<16xi1>, vector<16xf32>
        %i68 = arith.addi %slot17, %const_0 : index
        %i69 = arith.muli %i68, %const_1 : index
        %x70 = vector.load %values[%i69] : memref<?xf32>, vector<16xf32>
        %b71 = arith.bitcast %x70 : vector<16xf32> to vector<16xi32>
        %m72 = arith.cmpi ne, %b71, %const_3 : vector<16xi32>
        %m73 = arith.andi %m72, %m9 : vector<16xi1>
        %x74 = vector.load %columns[%i69] : memref<?xi8>, vector<16xi8>
        %c75 = arith.extui %x74 : vector<16xi8> to vector<16xi32>
        %i76 = arith.addi %i69, %const_8 : index
        memref.prefetch %values[%i76], read, locality<3>, data : memref<?xf32>
        %i77 = arith.addi %i69, %const_8 : index
        memref.prefetch %columns[%i77], read, locality<3>, data : memref<?xi8>
        %i78 = arith.addi %i68, %const_9 : index
        memref.prefetch %first[%i78], read, locality<3>, data : memref<?xi16>
        %s79 = memref.load %first[%i68] : memref<?xi16>
        %i80 = arith.index_castui %s79 : i16 to index
        %i81 = arith.muli %i80, %const_1 : index
        %i82 = arith.addi %i16, %i81 : index
        %c83 = arith.andi %c75, %const_10 : vector<16xi32>
        %m84 = arith.cmpi ne, %c83, %const_3 : vector<16xi32>
        %i85 = arith.addi %i82, %const_4 : index
        %i86 = arith.addi %i85, %const_4 : index
        %x87 = vector.load %x[%i86] : memref<?xf32>, vector<16xf32>
        %i88 = arith.addi %i85, %const_1 : index
        %x89 = vector.load %x[%i88] : memref<?xf32>, vector<16xf32>
        %p90 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x87, %c75, %x89) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i91 = arith.addi %i85, %const_11 : index
        %x92 = vector.load %x[%i91] : memref<?xf32>, vector<16xf32>
        %i93 = arith.addi %i85, %const_12 : index
        %x94 = vector.load %x[%i93] : memref<?xf32>, vector<16xf32>
        %p95 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x92, %c75, %x94) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p96 = arith.select %m84, %p95, %p90 : vector<16xi1>, vector<16xf32>
        %f97 = vector.fma %x70, %p96, %a19 : vector<16xf32>
        %f98 = arith.select %m73, %f97, %a19 : vector<16xi1>, vector<16xf32>
        %i99 = arith.addi %i82, %const_6 : index
        %i100 = arith.addi %i99, %const_4 : index
        %x101 = vector.load %x[%i100] : memref<?xf32>, vector<16xf32>
        %i102 = arith.addi %i99, %const_1 : index
        %x103 = vector.load %x[%i102] : memref<?xf32>, vector<16xf32>
        %p104 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x101, %c75, %x103) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i105 = arith.addi %i99, %const_11 : index
        %x106 = vector.load %x[%i105] : memref<?xf32>, vector<16xf32>
        %i107 = arith.addi %i99, %const_12 : index
        %x108 = vector.load %x[%i107] : memref<?xf32>, vector<16xf32>
        %p109 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x106, %c75, %x108) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p110 = arith.select %m84, %p109, %p104 : vector<16xi1>, vector<16xf32>
        %f111 = vector.fma %x70, %p110, %a21 : vector<16xf32>
        %f112 = arith.select %m73, %f111, %a21 : vector<16xi1>, vector<16xf32>
        scf.yield %f53, %f98, %f67, %f112 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
      }
      %f113 = arith.addf %r22#0, %r22#1 : vector<16xf32>
      %f114 = arith.addf %r22#2, %r22#3 : vector<16xf32>
      %i115 = arith.addi %token15, %const_4 : index
      %i116 = arith.muli %i115, %const_2 : index
      %b117 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y118 = arith.addf %f113, %b117 : vector<16xf32>
      %m119 = arith.cmpf ogt, %const_7, %y118 : vector<16xf32>
      %e120 = arith.select %m119, %const_7, %y118 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i116] [%v10], %m9, %e120 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
      %i121 = arith.addi %token15, %const_0 : index
      %i122 = arith.muli %i121, %const_2 : index
      %b123 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y124 = arith.addf %f114, %b123 : vector<16xf32>
      %m125 = arith.cmpf ogt, %const_7, %y124 : vector<16xf32>
      %e126 = arith.select %m125, %const_7, %y124 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i122] [%v10], %m9, %e126 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
    }
    scf.for %token127 = %i14 to %m step %const_0 {
      %i128 = arith.muli %token127, %const_6 : index
      %r132:2 = scf.for %slot129 = %i3 to %i6 step %const_5 iter_args(%a130 = %const_7, %a131 = %const_7) -> (vector<16xf32>, vector<16xf32>) {
        %i133 = arith.addi %slot129, %const_4 : index
        %i134 = arith.muli %i133, %const_1 : index
        %x135 = vector.load %values[%i134] : memref<?xf32>, vector<16xf32>
        %b136 = arith.bitcast %x135 : vector<16xf32> to vector<16xi32>
        %m137 = arith.cmpi ne, %b136, %const_3 : vector<16xi32>
        %m138 = arith.andi %m137, %m9 : vector<16xi1>
        %x139 = vector.load %columns[%i134] : memref<?xi8>, vector<16xi8>
        %c140 = arith.extui %x139 : vector<16xi8> to vector<16xi32>
        %i141 = arith.addi %i134, %const_8 : index
        memref.prefetch %values[%i141], read, locality<3>, data : memref<?xf32>
        %i142 = arith.addi %i134, %const_8 : index
        memref.prefetch %columns[%i142], read, locality<3>, data : memref<?xi8>
        %i143 = arith.addi %i133, %const_9 : index
        memref.prefetch %first[%i143], read, locality<3>, data : memref<?xi16>
        %s144 = memref.load %first[%i133] : memref<?xi16>
        %i145 = arith.index_castui %s144 : i16 to index
        %i146 = arith.muli %i145, %const_1 : index
        %i147 = arith.addi %i128, %i146 : index
        %c148 = arith.andi %c140, %const_10 : vector<16xi32>
        %m149 = arith.cmpi ne, %c148, %const_3 : vector<16xi32>
        %i150 = arith.addi %i147, %const_4 : index
        %i151 = arith.addi %i150, %const_4 : index
        %x152 = vector.load %x[%i151] : memref<?xf32>, vector<16xf32>
        %i153 = arith.addi %i150, %const_1 : index
        %x154 = vector.load %x[%i153] : memref<?xf32>, vector<16xf32>
        %p155 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x152, %c140, %x154) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i156 = arith.addi %i150, %const_11 : index
        %x157 = vector.load %x[%i156] : memref<?xf32>, vector<16xf32>
        %i158 = arith.addi %i150, %const_12 : index
        %x159 = vector.load %x[%i158] : memref<?xf32>, vector<16xf32>
        %p160 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x157, %c140, %x159) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p161 = arith.select %m149, %p160, %p155 : vector<16xi1>, vector<16xf32>
        %f162 = vector.fma %x135, %p161, %a130 : vector<16xf32>
        %f163 = arith.select %m138, %f162, %a130 : vector<16xi1>, vector<16xf32>
        %i164 = arith.addi %slot129, %const_0 : index
        %i165 = arith.muli %i164, %const_1 : index
        %x166 = vector.load %values[%i165] : memref<?xf32>, vector<16xf32>
        %b167 = arith.bitcast %x166 : vector<16xf32> to vector<16xi32>
        %m168 = arith.cmpi ne, %b167, %const_3 : vector<16xi32>
        %m169 = arith.andi %m168, %m9 : vector<16xi1>
        %x170 = vector.load %columns[%i165] : memref<?xi8>, vector<16xi8>
        %c171 = arith.extui %x170 : vector<16xi8> to vector<16xi32>
        %i172 = arith.addi %i165, %const_8 : index
        memref.prefetch %values[%i172], read, locality<3>, data : memref<?xf32>
        %i173 = arith.addi %i165, %const_8 : index
        memref.prefetch %columns[%i173], read, locality<3>, data : memref<?xi8>
        %i174 = arith.addi %i164, %const_9 : index
        memref.prefetch %first[%i174], read, locality<3>, data : memref<?xi16>
        %s175 = memref.load %first[%i164] : memref<?xi16>
        %i176 = arith.index_castui %s175 : i16 to index
        %i177 = arith.muli %i176, %const_1 : index
        %i178 = arith.addi %i128, %i177 : index
        %c179 = arith.andi %c171, %const_10 : vector<16xi32>
        %m180 = arith.cmpi ne, %c179, %const_3 : vector<16xi32>
        %i181 = arith.addi %i178, %const_4 : index
        %i182 = arith.addi %i181, %const_4 : index
        %x183 = vector.load %x[%i182] : memref<?xf32>, vector<16xf32>
        %i184 = arith.addi %i181, %const_1 : index
        %x185 = vector.load %x[%i184] : memref<?xf32>, vector<16xf32>
        %p186 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x183, %c171, %x185) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %i187 = arith.addi %i181, %const_11 : index
        %x188 = vector.load %x[%i187] : memref<?xf32>, vector<16xf32>
        %i189 = arith.addi %i181, %const_12 : index
        %x190 = vector.load %x[%i189] : memref<?xf32>, vector<16xf32>
        %p191 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x188, %c171, %x190) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %p192 = arith.select %m180, %p191, %p186 : vector<16xi1>, vector<16xf32>
        %f193 = vector.fma %x166, %p192, %a131 : vector<16xf32>
        %f194 = arith.select %m169, %f193, %a131 : vector<16xi1>, vector<16xf32>
        scf.yield %f163, %f194 : vector<16xf32>, vector<16xf32>
      }
      %f195 = arith.addf %r132#0, %r132#1 : vector<16xf32>
      %i196 = arith.addi %token127, %const_4 : index
      %i197 = arith.muli %i196, %const_2 : index
      %b198 = vector.gather %bias[%const_4] [%v10], %m9, %const_7 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y199 = arith.addf %f195, %b198 : vector<16xf32>
      %m200 = arith.cmpf ogt, %const_7, %y199 : vector<16xf32>
      %e201 = arith.select %m200, %const_7, %y199 : vector<16xi1>, vector<16xf32>
      vector.scatter %y[%i197] [%v10], %m9, %e201 : memref<?xf32>, vector<16xi32>, vector<16xi1>, vector<16xf32>
    }
  }
  return
}
