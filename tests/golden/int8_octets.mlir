func.func @_mlir_largest(%x_ptr: memref<1xbf16>, %most_ptr: memref<1xi32>, %part: index, %lo: index, %hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant 64 : index
  %const_2 = arith.constant dense<0> : vector<16xi32>
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant dense<2147483647> : vector<16xi32>
  %const_5 = arith.constant 32 : index
  %const_6 = arith.constant 48 : index
  %const_7 = arith.constant dense<0.0> : vector<16xbf16>
  %const_8 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xbf16> to memref<?xbf16>
  %most = memref.reinterpret_cast %most_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi32> to memref<?xi32>
  %i1 = arith.subi %hi, %lo : index
  %i2 = arith.divui %i1, %const_1 : index
  %i3 = arith.muli %i2, %const_1 : index
  %i4 = arith.addi %lo, %i3 : index
  %r10:4 = scf.for %k5 = %lo to %i4 step %const_1 iter_args(%a6 = %const_2, %a7 = %const_2, %a8 = %const_2, %a9 = %const_2) -> (vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>) {
    %i11 = arith.addi %k5, %const_3 : index
    %x12 = vector.load %x[%i11] : memref<?xbf16>, vector<16xbf16>
    %x13 = arith.extf %x12 : vector<16xbf16> to vector<16xf32>
    %b14 = arith.bitcast %x13 : vector<16xf32> to vector<16xi32>
    %b15 = arith.andi %b14, %const_4 : vector<16xi32>
    %b16 = arith.maxsi %a6, %b15 : vector<16xi32>
    %i17 = arith.addi %k5, %const_0 : index
    %x18 = vector.load %x[%i17] : memref<?xbf16>, vector<16xbf16>
    %x19 = arith.extf %x18 : vector<16xbf16> to vector<16xf32>
    %b20 = arith.bitcast %x19 : vector<16xf32> to vector<16xi32>
    %b21 = arith.andi %b20, %const_4 : vector<16xi32>
    %b22 = arith.maxsi %a7, %b21 : vector<16xi32>
    %i23 = arith.addi %k5, %const_5 : index
    %x24 = vector.load %x[%i23] : memref<?xbf16>, vector<16xbf16>
    %x25 = arith.extf %x24 : vector<16xbf16> to vector<16xf32>
    %b26 = arith.bitcast %x25 : vector<16xf32> to vector<16xi32>
    %b27 = arith.andi %b26, %const_4 : vector<16xi32>
    %b28 = arith.maxsi %a8, %b27 : vector<16xi32>
    %i29 = arith.addi %k5, %const_6 : index
    %x30 = vector.load %x[%i29] : memref<?xbf16>, vector<16xbf16>
    %x31 = arith.extf %x30 : vector<16xbf16> to vector<16xf32>
    %b32 = arith.bitcast %x31 : vector<16xf32> to vector<16xi32>
    %b33 = arith.andi %b32, %const_4 : vector<16xi32>
    %b34 = arith.maxsi %a9, %b33 : vector<16xi32>
    scf.yield %b16, %b22, %b28, %b34 : vector<16xi32>, vector<16xi32>, vector<16xi32>, vector<16xi32>
  }
  %r37:1 = scf.for %k35 = %i4 to %hi step %const_0 iter_args(%a36 = %const_2) -> (vector<16xi32>) {
    %i38 = arith.subi %hi, %k35 : index
    %m39 = vector.create_mask %i38 : vector<16xi1>
    %x40 = vector.maskedload %x[%k35], %m39, %const_7 : memref<?xbf16>, vector<16xi1>, vector<16xbf16> into vector<16xbf16>
    %x41 = arith.extf %x40 : vector<16xbf16> to vector<16xf32>
    %b42 = arith.bitcast %x41 : vector<16xf32> to vector<16xi32>
    %b43 = arith.andi %b42, %const_4 : vector<16xi32>
    %b44 = arith.maxsi %a36, %b43 : vector<16xi32>
    scf.yield %b44 : vector<16xi32>
  }
  %b45 = arith.maxsi %r37#0, %r10#0 : vector<16xi32>
  %b46 = arith.maxsi %b45, %r10#1 : vector<16xi32>
  %b47 = arith.maxsi %b46, %r10#2 : vector<16xi32>
  %b48 = arith.maxsi %b47, %r10#3 : vector<16xi32>
  %b49 = vector.reduction <maxsi>, %b48 : vector<16xi32> into i32
  memref.store %b49, %most[%part] : memref<?xi32>
  return
}
func.func @_mlir_octets(%x_ptr: memref<1xf32>, %most_ptr: memref<1xi32>, %lines_ptr: memref<1xi64>, %q_ptr: memref<1xi8>, %scale_ptr: memref<1xf32>, %parts: index, %plane: index, %width: index, %lo: index, %hi: index) {
  %const_0 = arith.constant 0 : index
  %const_1 = arith.constant 226492416 : i32
  %const_2 = arith.constant 1 : index
  %const_3 = arith.constant 2139095040 : i32
  %const_4 = arith.constant 127.0 : f32
  %const_5 = arith.constant 0x7FC00000 : f32
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant 22 : index
  %const_8 = arith.constant dense<0.0> : vector<16xf32>
  %const_9 = arith.constant dense<1.258304000e+07> : vector<16xf32>
  %const_10 = arith.constant dense<8> : vector<16xi32>
  %const_11 = arith.constant 2 : index
  %const_12 = arith.constant dense<16> : vector<16xi32>
  %const_13 = arith.constant 3 : index
  %const_14 = arith.constant dense<24> : vector<16xi32>
  %const_15 = arith.constant dense<1958739968> : vector<16xi32>
  %const_16 = arith.constant 4 : index
  %const_17 = arith.constant 5 : index
  %const_18 = arith.constant 6 : index
  %const_19 = arith.constant 7 : index
  %const_20 = arith.constant 8 : index
  %const_21 = arith.constant 9 : index
  %const_22 = arith.constant 10 : index
  %const_23 = arith.constant 11 : index
  %const_24 = arith.constant 12 : index
  %const_25 = arith.constant 13 : index
  %const_26 = arith.constant 14 : index
  %const_27 = arith.constant 15 : index
  %const_28 = arith.constant 44 : index
  %const_29 = arith.constant 66 : index
  %const_30 = arith.constant 88 : index
  %const_31 = arith.constant 110 : index
  %const_32 = arith.constant 132 : index
  %const_33 = arith.constant 154 : index
  %const_34 = arith.constant 176 : index
  %const_35 = arith.constant 198 : index
  %const_36 = arith.constant 220 : index
  %const_37 = arith.constant 242 : index
  %const_38 = arith.constant 264 : index
  %const_39 = arith.constant 286 : index
  %const_40 = arith.constant 308 : index
  %const_41 = arith.constant 330 : index
  %const_42 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xf32> to memref<?xf32>
  %most = memref.reinterpret_cast %most_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi32> to memref<?xi32>
  %lines = memref.reinterpret_cast %lines_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi64> to memref<?xi64>
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi8> to memref<?xi8>
  %scale = memref.reinterpret_cast %scale_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xf32> to memref<?xf32>
  %r3:1 = scf.for %p1 = %const_0 to %parts step %const_2 iter_args(%a2 = %const_1) -> (i32) {
    %s4 = memref.load %most[%p1] : memref<?xi32>
    %b5 = arith.maxsi %a2, %s4 : i32
    scf.yield %b5 : i32
  }
  %p6 = arith.cmpi slt, %r3#0, %const_3 : i32
  %s7 = arith.bitcast %r3#0 : i32 to f32
  %s8 = arith.divf %s7, %const_4 : f32
  %s9 = arith.select %p6, %s8, %const_5 : f32
  memref.store %s9, %scale[%const_0] : memref<?xf32>
  %s10 = arith.divf %const_4, %s7 : f32
  %w11 = vector.broadcast %s10 : f32 to vector<16xf32>
  scf.for %h12 = %lo to %hi step %const_2 {
    %s13 = memref.load %lines[%h12] : memref<?xi64>
    %i14 = arith.index_cast %s13 : i64 to index
    %p15 = arith.cmpi sge, %i14, %const_0 : index
    scf.if %p15 {
      %i16 = arith.muli %h12, %width : index
      scf.for %w17 = %const_0 to %width step %const_6 {
        %i18 = arith.addi %i16, %w17 : index
        %i19 = arith.muli %w17, %const_7 : index
        %i20 = arith.addi %i14, %i19 : index
        scf.for %c21 = %const_0 to %const_6 step %const_6 {
          %m22 = vector.create_mask %width : vector<16xi1>
          %i23 = arith.addi %c21, %const_0 : index
          %i24 = arith.muli %i23, %plane : index
          %i25 = arith.addi %i18, %i24 : index
          %x26 = vector.maskedload %x[%i25], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s27 = arith.mulf %x26, %w11 : vector<16xf32>
          %s28 = arith.addf %s27, %const_9 : vector<16xf32>
          %b29 = arith.bitcast %s28 : vector<16xf32> to vector<16xi32>
          %i30 = arith.addi %c21, %const_2 : index
          %i31 = arith.muli %i30, %plane : index
          %i32 = arith.addi %i18, %i31 : index
          %x33 = vector.maskedload %x[%i32], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s34 = arith.mulf %x33, %w11 : vector<16xf32>
          %s35 = arith.addf %s34, %const_9 : vector<16xf32>
          %b36 = arith.bitcast %s35 : vector<16xf32> to vector<16xi32>
          %b37 = arith.shli %b36, %const_10 : vector<16xi32>
          %b38 = arith.addi %b29, %b37 : vector<16xi32>
          %i39 = arith.addi %c21, %const_11 : index
          %i40 = arith.muli %i39, %plane : index
          %i41 = arith.addi %i18, %i40 : index
          %x42 = vector.maskedload %x[%i41], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s43 = arith.mulf %x42, %w11 : vector<16xf32>
          %s44 = arith.addf %s43, %const_9 : vector<16xf32>
          %b45 = arith.bitcast %s44 : vector<16xf32> to vector<16xi32>
          %b46 = arith.shli %b45, %const_12 : vector<16xi32>
          %b47 = arith.addi %b38, %b46 : vector<16xi32>
          %i48 = arith.addi %c21, %const_13 : index
          %i49 = arith.muli %i48, %plane : index
          %i50 = arith.addi %i18, %i49 : index
          %x51 = vector.maskedload %x[%i50], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s52 = arith.mulf %x51, %w11 : vector<16xf32>
          %s53 = arith.addf %s52, %const_9 : vector<16xf32>
          %b54 = arith.bitcast %s53 : vector<16xf32> to vector<16xi32>
          %b55 = arith.shli %b54, %const_14 : vector<16xi32>
          %b56 = arith.addi %b47, %b55 : vector<16xi32>
          %b57 = arith.addi %b56, %const_15 : vector<16xi32>
          %t58 = arith.bitcast %b57 : vector<16xi32> to vector<16xf32>
          %i59 = arith.addi %c21, %const_16 : index
          %i60 = arith.muli %i59, %plane : index
          %i61 = arith.addi %i18, %i60 : index
          %x62 = vector.maskedload %x[%i61], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s63 = arith.mulf %x62, %w11 : vector<16xf32>
          %s64 = arith.addf %s63, %const_9 : vector<16xf32>
          %b65 = arith.bitcast %s64 : vector<16xf32> to vector<16xi32>
          %i66 = arith.addi %c21, %const_17 : index
          %i67 = arith.muli %i66, %plane : index
          %i68 = arith.addi %i18, %i67 : index
          %x69 = vector.maskedload %x[%i68], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s70 = arith.mulf %x69, %w11 : vector<16xf32>
          %s71 = arith.addf %s70, %const_9 : vector<16xf32>
          %b72 = arith.bitcast %s71 : vector<16xf32> to vector<16xi32>
          %b73 = arith.shli %b72, %const_10 : vector<16xi32>
          %b74 = arith.addi %b65, %b73 : vector<16xi32>
          %i75 = arith.addi %c21, %const_18 : index
          %i76 = arith.muli %i75, %plane : index
          %i77 = arith.addi %i18, %i76 : index
          %x78 = vector.maskedload %x[%i77], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s79 = arith.mulf %x78, %w11 : vector<16xf32>
          %s80 = arith.addf %s79, %const_9 : vector<16xf32>
          %b81 = arith.bitcast %s80 : vector<16xf32> to vector<16xi32>
          %b82 = arith.shli %b81, %const_12 : vector<16xi32>
          %b83 = arith.addi %b74, %b82 : vector<16xi32>
          %i84 = arith.addi %c21, %const_19 : index
          %i85 = arith.muli %i84, %plane : index
          %i86 = arith.addi %i18, %i85 : index
          %x87 = vector.maskedload %x[%i86], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s88 = arith.mulf %x87, %w11 : vector<16xf32>
          %s89 = arith.addf %s88, %const_9 : vector<16xf32>
          %b90 = arith.bitcast %s89 : vector<16xf32> to vector<16xi32>
          %b91 = arith.shli %b90, %const_14 : vector<16xi32>
          %b92 = arith.addi %b83, %b91 : vector<16xi32>
          %b93 = arith.addi %b92, %const_15 : vector<16xi32>
          %t94 = arith.bitcast %b93 : vector<16xi32> to vector<16xf32>
          %i95 = arith.addi %c21, %const_20 : index
          %i96 = arith.muli %i95, %plane : index
          %i97 = arith.addi %i18, %i96 : index
          %x98 = vector.maskedload %x[%i97], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s99 = arith.mulf %x98, %w11 : vector<16xf32>
          %s100 = arith.addf %s99, %const_9 : vector<16xf32>
          %b101 = arith.bitcast %s100 : vector<16xf32> to vector<16xi32>
          %i102 = arith.addi %c21, %const_21 : index
          %i103 = arith.muli %i102, %plane : index
          %i104 = arith.addi %i18, %i103 : index
          %x105 = vector.maskedload %x[%i104], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s106 = arith.mulf %x105, %w11 : vector<16xf32>
          %s107 = arith.addf %s106, %const_9 : vector<16xf32>
          %b108 = arith.bitcast %s107 : vector<16xf32> to vector<16xi32>
          %b109 = arith.shli %b108, %const_10 : vector<16xi32>
          %b110 = arith.addi %b101, %b109 : vector<16xi32>
          %i111 = arith.addi %c21, %const_22 : index
          %i112 = arith.muli %i111, %plane : index
          %i113 = arith.addi %i18, %i112 : index
          %x114 = vector.maskedload %x[%i113], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s115 = arith.mulf %x114, %w11 : vector<16xf32>
          %s116 = arith.addf %s115, %const_9 : vector<16xf32>
          %b117 = arith.bitcast %s116 : vector<16xf32> to vector<16xi32>
          %b118 = arith.shli %b117, %const_12 : vector<16xi32>
          %b119 = arith.addi %b110, %b118 : vector<16xi32>
          %i120 = arith.addi %c21, %const_23 : index
          %i121 = arith.muli %i120, %plane : index
          %i122 = arith.addi %i18, %i121 : index
          %x123 = vector.maskedload %x[%i122], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s124 = arith.mulf %x123, %w11 : vector<16xf32>
          %s125 = arith.addf %s124, %const_9 : vector<16xf32>
          %b126 = arith.bitcast %s125 : vector<16xf32> to vector<16xi32>
          %b127 = arith.shli %b126, %const_14 : vector<16xi32>
          %b128 = arith.addi %b119, %b127 : vector<16xi32>
          %b129 = arith.addi %b128, %const_15 : vector<16xi32>
          %t130 = arith.bitcast %b129 : vector<16xi32> to vector<16xf32>
          %i131 = arith.addi %c21, %const_24 : index
          %i132 = arith.muli %i131, %plane : index
          %i133 = arith.addi %i18, %i132 : index
          %x134 = vector.maskedload %x[%i133], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s135 = arith.mulf %x134, %w11 : vector<16xf32>
          %s136 = arith.addf %s135, %const_9 : vector<16xf32>
          %b137 = arith.bitcast %s136 : vector<16xf32> to vector<16xi32>
          %i138 = arith.addi %c21, %const_25 : index
          %i139 = arith.muli %i138, %plane : index
          %i140 = arith.addi %i18, %i139 : index
          %x141 = vector.maskedload %x[%i140], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s142 = arith.mulf %x141, %w11 : vector<16xf32>
          %s143 = arith.addf %s142, %const_9 : vector<16xf32>
          %b144 = arith.bitcast %s143 : vector<16xf32> to vector<16xi32>
          %b145 = arith.shli %b144, %const_10 : vector<16xi32>
          %b146 = arith.addi %b137, %b145 : vector<16xi32>
          %i147 = arith.addi %c21, %const_26 : index
          %i148 = arith.muli %i147, %plane : index
          %i149 = arith.addi %i18, %i148 : index
          %x150 = vector.maskedload %x[%i149], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s151 = arith.mulf %x150, %w11 : vector<16xf32>
          %s152 = arith.addf %s151, %const_9 : vector<16xf32>
          %b153 = arith.bitcast %s152 : vector<16xf32> to vector<16xi32>
          %b154 = arith.shli %b153, %const_12 : vector<16xi32>
          %b155 = arith.addi %b146, %b154 : vector<16xi32>
          %i156 = arith.addi %c21, %const_27 : index
          %i157 = arith.muli %i156, %plane : index
          %i158 = arith.addi %i18, %i157 : index
          %x159 = vector.maskedload %x[%i158], %m22, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
          %s160 = arith.mulf %x159, %w11 : vector<16xf32>
          %s161 = arith.addf %s160, %const_9 : vector<16xf32>
          %b162 = arith.bitcast %s161 : vector<16xf32> to vector<16xi32>
          %b163 = arith.shli %b162, %const_14 : vector<16xi32>
          %b164 = arith.addi %b155, %b163 : vector<16xi32>
          %b165 = arith.addi %b164, %const_15 : vector<16xi32>
          %t166 = arith.bitcast %b165 : vector<16xi32> to vector<16xf32>
          %t167 = vector.shuffle %t58, %t94 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
          %t168 = vector.shuffle %t58, %t94 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
          %t169 = vector.shuffle %t130, %t166 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
          %t170 = vector.shuffle %t130, %t166 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
          %t171 = vector.shuffle %t167, %t169 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
          %t172 = vector.shuffle %t167, %t169 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
          %t173 = vector.shuffle %t168, %t170 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
          %t174 = vector.shuffle %t168, %t170 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
          %t175 = vector.shuffle %t171, %t171 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q176 = vector.bitcast %t175 : vector<4xf32> to vector<16xi8>
          %i177 = arith.addi %i20, %c21 : index
          %i178 = arith.addi %i177, %const_0 : index
          %p179 = arith.cmpi slt, %const_0, %width : index
          scf.if %p179 {
            vector.store %q176, %q[%i178] : memref<?xi8>, vector<16xi8>
          }
          %t180 = vector.shuffle %t172, %t172 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q181 = vector.bitcast %t180 : vector<4xf32> to vector<16xi8>
          %i182 = arith.addi %i20, %c21 : index
          %i183 = arith.addi %i182, %const_7 : index
          %p184 = arith.cmpi slt, %const_2, %width : index
          scf.if %p184 {
            vector.store %q181, %q[%i183] : memref<?xi8>, vector<16xi8>
          }
          %t185 = vector.shuffle %t173, %t173 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q186 = vector.bitcast %t185 : vector<4xf32> to vector<16xi8>
          %i187 = arith.addi %i20, %c21 : index
          %i188 = arith.addi %i187, %const_28 : index
          %p189 = arith.cmpi slt, %const_11, %width : index
          scf.if %p189 {
            vector.store %q186, %q[%i188] : memref<?xi8>, vector<16xi8>
          }
          %t190 = vector.shuffle %t174, %t174 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q191 = vector.bitcast %t190 : vector<4xf32> to vector<16xi8>
          %i192 = arith.addi %i20, %c21 : index
          %i193 = arith.addi %i192, %const_29 : index
          %p194 = arith.cmpi slt, %const_13, %width : index
          scf.if %p194 {
            vector.store %q191, %q[%i193] : memref<?xi8>, vector<16xi8>
          }
          %t195 = vector.shuffle %t171, %t171 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q196 = vector.bitcast %t195 : vector<4xf32> to vector<16xi8>
          %i197 = arith.addi %i20, %c21 : index
          %i198 = arith.addi %i197, %const_30 : index
          %p199 = arith.cmpi slt, %const_16, %width : index
          scf.if %p199 {
            vector.store %q196, %q[%i198] : memref<?xi8>, vector<16xi8>
          }
          %t200 = vector.shuffle %t172, %t172 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q201 = vector.bitcast %t200 : vector<4xf32> to vector<16xi8>
          %i202 = arith.addi %i20, %c21 : index
          %i203 = arith.addi %i202, %const_31 : index
          %p204 = arith.cmpi slt, %const_17, %width : index
          scf.if %p204 {
            vector.store %q201, %q[%i203] : memref<?xi8>, vector<16xi8>
          }
          %t205 = vector.shuffle %t173, %t173 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q206 = vector.bitcast %t205 : vector<4xf32> to vector<16xi8>
          %i207 = arith.addi %i20, %c21 : index
          %i208 = arith.addi %i207, %const_32 : index
          %p209 = arith.cmpi slt, %const_18, %width : index
          scf.if %p209 {
            vector.store %q206, %q[%i208] : memref<?xi8>, vector<16xi8>
          }
          %t210 = vector.shuffle %t174, %t174 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q211 = vector.bitcast %t210 : vector<4xf32> to vector<16xi8>
          %i212 = arith.addi %i20, %c21 : index
          %i213 = arith.addi %i212, %const_33 : index
          %p214 = arith.cmpi slt, %const_19, %width : index
          scf.if %p214 {
            vector.store %q211, %q[%i213] : memref<?xi8>, vector<16xi8>
          }
          %t215 = vector.shuffle %t171, %t171 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q216 = vector.bitcast %t215 : vector<4xf32> to vector<16xi8>
          %i217 = arith.addi %i20, %c21 : index
          %i218 = arith.addi %i217, %const_34 : index
          %p219 = arith.cmpi slt, %const_20, %width : index
          scf.if %p219 {
            vector.store %q216, %q[%i218] : memref<?xi8>, vector<16xi8>
          }
          %t220 = vector.shuffle %t172, %t172 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q221 = vector.bitcast %t220 : vector<4xf32> to vector<16xi8>
          %i222 = arith.addi %i20, %c21 : index
          %i223 = arith.addi %i222, %const_35 : index
          %p224 = arith.cmpi slt, %const_21, %width : index
          scf.if %p224 {
            vector.store %q221, %q[%i223] : memref<?xi8>, vector<16xi8>
          }
          %t225 = vector.shuffle %t173, %t173 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q226 = vector.bitcast %t225 : vector<4xf32> to vector<16xi8>
          %i227 = arith.addi %i20, %c21 : index
          %i228 = arith.addi %i227, %const_36 : index
          %p229 = arith.cmpi slt, %const_22, %width : index
          scf.if %p229 {
            vector.store %q226, %q[%i228] : memref<?xi8>, vector<16xi8>
          }
          %t230 = vector.shuffle %t174, %t174 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q231 = vector.bitcast %t230 : vector<4xf32> to vector<16xi8>
          %i232 = arith.addi %i20, %c21 : index
          %i233 = arith.addi %i232, %const_37 : index
          %p234 = arith.cmpi slt, %const_23, %width : index
          scf.if %p234 {
            vector.store %q231, %q[%i233] : memref<?xi8>, vector<16xi8>
          }
          %t235 = vector.shuffle %t171, %t171 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q236 = vector.bitcast %t235 : vector<4xf32> to vector<16xi8>
          %i237 = arith.addi %i20, %c21 : index
          %i238 = arith.addi %i237, %const_38 : index
          %p239 = arith.cmpi slt, %const_24, %width : index
          scf.if %p239 {
            vector.store %q236, %q[%i238] : memref<?xi8>, vector<16xi8>
          }
          %t240 = vector.shuffle %t172, %t172 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q241 = vector.bitcast %t240 : vector<4xf32> to vector<16xi8>
          %i242 = arith.addi %i20, %c21 : index
          %i243 = arith.addi %i242, %const_39 : index
          %p244 = arith.cmpi slt, %const_25, %width : index
          scf.if %p244 {
            vector.store %q241, %q[%i243] : memref<?xi8>, vector<16xi8>
          }
          %t245 = vector.shuffle %t173, %t173 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q246 = vector.bitcast %t245 : vector<4xf32> to vector<16xi8>
          %i247 = arith.addi %i20, %c21 : index
          %i248 = arith.addi %i247, %const_40 : index
          %p249 = arith.cmpi slt, %const_26, %width : index
          scf.if %p249 {
            vector.store %q246, %q[%i248] : memref<?xi8>, vector<16xi8>
          }
          %t250 = vector.shuffle %t174, %t174 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q251 = vector.bitcast %t250 : vector<4xf32> to vector<16xi8>
          %i252 = arith.addi %i20, %c21 : index
          %i253 = arith.addi %i252, %const_41 : index
          %p254 = arith.cmpi slt, %const_27, %width : index
          scf.if %p254 {
            vector.store %q251, %q[%i253] : memref<?xi8>, vector<16xi8>
          }
        }
        %m255 = vector.create_mask %width : vector<16xi1>
        %i256 = arith.addi %const_6, %const_0 : index
        %i257 = arith.muli %i256, %plane : index
        %i258 = arith.addi %i18, %i257 : index
        %x259 = vector.maskedload %x[%i258], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s260 = arith.mulf %x259, %w11 : vector<16xf32>
        %s261 = arith.addf %s260, %const_9 : vector<16xf32>
        %b262 = arith.bitcast %s261 : vector<16xf32> to vector<16xi32>
        %i263 = arith.addi %const_6, %const_2 : index
        %i264 = arith.muli %i263, %plane : index
        %i265 = arith.addi %i18, %i264 : index
        %x266 = vector.maskedload %x[%i265], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s267 = arith.mulf %x266, %w11 : vector<16xf32>
        %s268 = arith.addf %s267, %const_9 : vector<16xf32>
        %b269 = arith.bitcast %s268 : vector<16xf32> to vector<16xi32>
        %b270 = arith.shli %b269, %const_10 : vector<16xi32>
        %b271 = arith.addi %b262, %b270 : vector<16xi32>
        %i272 = arith.addi %const_6, %const_11 : index
        %i273 = arith.muli %i272, %plane : index
        %i274 = arith.addi %i18, %i273 : index
        %x275 = vector.maskedload %x[%i274], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s276 = arith.mulf %x275, %w11 : vector<16xf32>
        %s277 = arith.addf %s276, %const_9 : vector<16xf32>
        %b278 = arith.bitcast %s277 : vector<16xf32> to vector<16xi32>
        %b279 = arith.shli %b278, %const_12 : vector<16xi32>
        %b280 = arith.addi %b271, %b279 : vector<16xi32>
        %i281 = arith.addi %const_6, %const_13 : index
        %i282 = arith.muli %i281, %plane : index
        %i283 = arith.addi %i18, %i282 : index
        %x284 = vector.maskedload %x[%i283], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s285 = arith.mulf %x284, %w11 : vector<16xf32>
        %s286 = arith.addf %s285, %const_9 : vector<16xf32>
        %b287 = arith.bitcast %s286 : vector<16xf32> to vector<16xi32>
        %b288 = arith.shli %b287, %const_14 : vector<16xi32>
        %b289 = arith.addi %b280, %b288 : vector<16xi32>
        %b290 = arith.addi %b289, %const_15 : vector<16xi32>
        %t291 = arith.bitcast %b290 : vector<16xi32> to vector<16xf32>
        %i292 = arith.addi %const_6, %const_16 : index
        %i293 = arith.muli %i292, %plane : index
        %i294 = arith.addi %i18, %i293 : index
        %x295 = vector.maskedload %x[%i294], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s296 = arith.mulf %x295, %w11 : vector<16xf32>
        %s297 = arith.addf %s296, %const_9 : vector<16xf32>
        %b298 = arith.bitcast %s297 : vector<16xf32> to vector<16xi32>
        %i299 = arith.addi %const_6, %const_17 : index
        %i300 = arith.muli %i299, %plane : index
        %i301 = arith.addi %i18, %i300 : index
        %x302 = vector.maskedload %x[%i301], %m255, %const_8 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s303 = arith.mulf %x302, %w11 : vector<16xf32>
        %s304 = arith.addf %s303, %const_9 : vector<16xf32>
        %b305 = arith.bitcast %s304 : vector<16xf32> to vector<16xi32>
        %b306 = arith.shli %b305, %const_10 : vector<16xi32>
        %b307 = arith.addi %b298, %b306 : vector<16xi32>
        %b308 = arith.addi %b307, %const_15 : vector<16xi32>
        %t309 = arith.bitcast %b308 : vector<16xi32> to vector<16xf32>
        %t310 = vector.shuffle %t291, %t309 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
        %t311 = vector.shuffle %t291, %t309 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
        %t312 = vector.shuffle %const_8, %const_8 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
        %t313 = vector.shuffle %const_8, %const_8 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
        %t314 = vector.shuffle %t310, %t312 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
        %t315 = vector.shuffle %t310, %t312 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
        %t316 = vector.shuffle %t311, %t313 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
        %t317 = vector.shuffle %t311, %t313 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
        %m318 = vector.create_mask %const_18 : vector<16xi1>
        %t319 = vector.shuffle %t314, %t314 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
        %q320 = vector.bitcast %t319 : vector<4xf32> to vector<16xi8>
        %i321 = arith.addi %i20, %const_6 : index
        %i322 = arith.addi %i321, %const_0 : index
        %p323 = arith.cmpi slt, %const_0, %width : index
        scf.if %p323 {
          vector.maskedstore %q[%i322], %m318, %q320 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t324 = vector.shuffle %t315, %t315 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
        %q325 = vector.bitcast %t324 : vector<4xf32> to vector<16xi8>
        %i326 = arith.addi %i20, %const_6 : index
        %i327 = arith.addi %i326, %const_7 : index
        %p328 = arith.cmpi slt, %const_2, %width : index
        scf.if %p328 {
          vector.maskedstore %q[%i327], %m318, %q325 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t329 = vector.shuffle %t316, %t316 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
        %q330 = vector.bitcast %t329 : vector<4xf32> to vector<16xi8>
        %i331 = arith.addi %i20, %const_6 : index
        %i332 = arith.addi %i331, %const_28 : index
        %p333 = arith.cmpi slt, %const_11, %width : index
        scf.if %p333 {
          vector.maskedstore %q[%i332], %m318, %q330 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t334 = vector.shuffle %t317, %t317 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
        %q335 = vector.bitcast %t334 : vector<4xf32> to vector<16xi8>
        %i336 = arith.addi %i20, %const_6 : index
        %i337 = arith.addi %i336, %const_29 : index
        %p338 = arith.cmpi slt, %const_13, %width : index
        scf.if %p338 {
          vector.maskedstore %q[%i337], %m318, %q335 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t339 = vector.shuffle %t314, %t314 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
        %q340 = vector.bitcast %t339 : vector<4xf32> to vector<16xi8>
        %i341 = arith.addi %i20, %const_6 : index
        %i342 = arith.addi %i341, %const_30 : index
        %p343 = arith.cmpi slt, %const_16, %width : index
        scf.if %p343 {
          vector.maskedstore %q[%i342], %m318, %q340 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t344 = vector.shuffle %t315, %t315 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
        %q345 = vector.bitcast %t344 : vector<4xf32> to vector<16xi8>
        %i346 = arith.addi %i20, %const_6 : index
        %i347 = arith.addi %i346, %const_31 : index
        %p348 = arith.cmpi slt, %const_17, %width : index
        scf.if %p348 {
          vector.maskedstore %q[%i347], %m318, %q345 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t349 = vector.shuffle %t316, %t316 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
        %q350 = vector.bitcast %t349 : vector<4xf32> to vector<16xi8>
        %i351 = arith.addi %i20, %const_6 : index
        %i352 = arith.addi %i351, %const_32 : index
        %p353 = arith.cmpi slt, %const_18, %width : index
        scf.if %p353 {
          vector.maskedstore %q[%i352], %m318, %q350 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t354 = vector.shuffle %t317, %t317 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
        %q355 = vector.bitcast %t354 : vector<4xf32> to vector<16xi8>
        %i356 = arith.addi %i20, %const_6 : index
        %i357 = arith.addi %i356, %const_33 : index
        %p358 = arith.cmpi slt, %const_19, %width : index
        scf.if %p358 {
          vector.maskedstore %q[%i357], %m318, %q355 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t359 = vector.shuffle %t314, %t314 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
        %q360 = vector.bitcast %t359 : vector<4xf32> to vector<16xi8>
        %i361 = arith.addi %i20, %const_6 : index
        %i362 = arith.addi %i361, %const_34 : index
        %p363 = arith.cmpi slt, %const_20, %width : index
        scf.if %p363 {
          vector.maskedstore %q[%i362], %m318, %q360 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t364 = vector.shuffle %t315, %t315 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
        %q365 = vector.bitcast %t364 : vector<4xf32> to vector<16xi8>
        %i366 = arith.addi %i20, %const_6 : index
        %i367 = arith.addi %i366, %const_35 : index
        %p368 = arith.cmpi slt, %const_21, %width : index
        scf.if %p368 {
          vector.maskedstore %q[%i367], %m318, %q365 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t369 = vector.shuffle %t316, %t316 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
        %q370 = vector.bitcast %t369 : vector<4xf32> to vector<16xi8>
        %i371 = arith.addi %i20, %const_6 : index
        %i372 = arith.addi %i371, %const_36 : index
        %p373 = arith.cmpi slt, %const_22, %width : index
        scf.if %p373 {
          vector.maskedstore %q[%i372], %m318, %q370 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t374 = vector.shuffle %t317, %t317 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
        %q375 = vector.bitcast %t374 : vector<4xf32> to vector<16xi8>
        %i376 = arith.addi %i20, %const_6 : index
        %i377 = arith.addi %i376, %const_37 : index
        %p378 = arith.cmpi slt, %const_23, %width : index
        scf.if %p378 {
          vector.maskedstore %q[%i377], %m318, %q375 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t379 = vector.shuffle %t314, %t314 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
        %q380 = vector.bitcast %t379 : vector<4xf32> to vector<16xi8>
        %i381 = arith.addi %i20, %const_6 : index
        %i382 = arith.addi %i381, %const_38 : index
        %p383 = arith.cmpi slt, %const_24, %width : index
        scf.if %p383 {
          vector.maskedstore %q[%i382], %m318, %q380 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t384 = vector.shuffle %t315, %t315 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
        %q385 = vector.bitcast %t384 : vector<4xf32> to vector<16xi8>
        %i386 = arith.addi %i20, %const_6 : index
        %i387 = arith.addi %i386, %const_39 : index
        %p388 = arith.cmpi slt, %const_25, %width : index
        scf.if %p388 {
          vector.maskedstore %q[%i387], %m318, %q385 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t389 = vector.shuffle %t316, %t316 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
        %q390 = vector.bitcast %t389 : vector<4xf32> to vector<16xi8>
        %i391 = arith.addi %i20, %const_6 : index
        %i392 = arith.addi %i391, %const_40 : index
        %p393 = arith.cmpi slt, %const_26, %width : index
        scf.if %p393 {
          vector.maskedstore %q[%i392], %m318, %q390 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
        %t394 = vector.shuffle %t317, %t317 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
        %q395 = vector.bitcast %t394 : vector<4xf32> to vector<16xi8>
        %i396 = arith.addi %i20, %const_6 : index
        %i397 = arith.addi %i396, %const_41 : index
        %p398 = arith.cmpi slt, %const_27, %width : index
        scf.if %p398 {
          vector.maskedstore %q[%i397], %m318, %q395 : memref<?xi8>, vector<16xi1>, vector<16xi8>
        }
      }
    }
  }
  return
}
func.func @_mlir_octets(%x_ptr: memref<1xbf16>, %most_ptr: memref<1xi32>, %lines_ptr: memref<1xi64>, %q_ptr: memref<1xi8>, %scale_ptr: memref<1xf32>, %parts: index, %plane: index, %width: index, %lo: index, %hi: index) {
  %const_0 = arith.constant 0 : index
  %const_1 = arith.constant 226492416 : i32
  %const_2 = arith.constant 1 : index
  %const_3 = arith.constant 2139095040 : i32
  %const_4 = arith.constant 127.0 : f32
  %const_5 = arith.constant 0x7FC00000 : f32
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant 32 : index
  %const_8 = arith.constant dense<1.258304000e+07> : vector<16xf32>
  %const_9 = arith.constant dense<8> : vector<16xi32>
  %const_10 = arith.constant 2 : index
  %const_11 = arith.constant dense<16> : vector<16xi32>
  %const_12 = arith.constant 3 : index
  %const_13 = arith.constant dense<24> : vector<16xi32>
  %const_14 = arith.constant dense<1958739968> : vector<16xi32>
  %const_15 = arith.constant 4 : index
  %const_16 = arith.constant 5 : index
  %const_17 = arith.constant 6 : index
  %const_18 = arith.constant 7 : index
  %const_19 = arith.constant 8 : index
  %const_20 = arith.constant 9 : index
  %const_21 = arith.constant 10 : index
  %const_22 = arith.constant 11 : index
  %const_23 = arith.constant 12 : index
  %const_24 = arith.constant 13 : index
  %const_25 = arith.constant 14 : index
  %const_26 = arith.constant 15 : index
  %const_27 = arith.constant dense<0.0> : vector<16xf32>
  %const_28 = arith.constant 64 : index
  %const_29 = arith.constant 96 : index
  %const_30 = arith.constant 128 : index
  %const_31 = arith.constant 160 : index
  %const_32 = arith.constant 192 : index
  %const_33 = arith.constant 224 : index
  %const_34 = arith.constant 256 : index
  %const_35 = arith.constant 288 : index
  %const_36 = arith.constant 320 : index
  %const_37 = arith.constant 352 : index
  %const_38 = arith.constant 384 : index
  %const_39 = arith.constant 416 : index
  %const_40 = arith.constant 448 : index
  %const_41 = arith.constant 480 : index
  %const_42 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xbf16> to memref<?xbf16>
  %most = memref.reinterpret_cast %most_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi32> to memref<?xi32>
  %lines = memref.reinterpret_cast %lines_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi64> to memref<?xi64>
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xi8> to memref<?xi8>
  %scale = memref.reinterpret_cast %scale_ptr to offset: [0], sizes: [%const_42], strides: [1] : memref<1xf32> to memref<?xf32>
  %r3:1 = scf.for %p1 = %const_0 to %parts step %const_2 iter_args(%a2 = %const_1) -> (i32) {
    %s4 = memref.load %most[%p1] : memref<?xi32>
    %b5 = arith.maxsi %a2, %s4 : i32
    scf.yield %b5 : i32
  }
  %p6 = arith.cmpi slt, %r3#0, %const_3 : i32
  %s7 = arith.bitcast %r3#0 : i32 to f32
  %s8 = arith.divf %s7, %const_4 : f32
  %s9 = arith.select %p6, %s8, %const_5 : f32
  memref.store %s9, %scale[%const_0] : memref<?xf32>
  %s10 = arith.divf %const_4, %s7 : f32
  %w11 = vector.broadcast %s10 : f32 to vector<16xf32>
  scf.for %h12 = %lo to %hi step %const_2 {
    %s13 = memref.load %lines[%h12] : memref<?xi64>
    %i14 = arith.index_cast %s13 : i64 to index
    %p15 = arith.cmpi sge, %i14, %const_0 : index
    scf.if %p15 {
      %i16 = arith.muli %h12, %width : index
      scf.for %w17 = %const_0 to %width step %const_6 {
        %i18 = arith.subi %width, %const_6 : index
        %i19 = arith.minsi %w17, %i18 : index
        %i20 = arith.addi %i16, %i19 : index
        %i21 = arith.muli %i19, %const_7 : index
        %i22 = arith.addi %i14, %i21 : index
        scf.for %c23 = %const_0 to %const_7 step %const_6 {
          %i24 = arith.addi %c23, %const_0 : index
          %i25 = arith.muli %i24, %plane : index
          %i26 = arith.addi %i20, %i25 : index
          %x27 = vector.load %x[%i26] : memref<?xbf16>, vector<16xbf16>
          %x28 = arith.extf %x27 : vector<16xbf16> to vector<16xf32>
          %s29 = arith.mulf %x28, %w11 : vector<16xf32>
          %s30 = arith.addf %s29, %const_8 : vector<16xf32>
          %b31 = arith.bitcast %s30 : vector<16xf32> to vector<16xi32>
          %i32 = arith.addi %c23, %const_2 : index
          %i33 = arith.muli %i32, %plane : index
          %i34 = arith.addi %i20, %i33 : index
          %x35 = vector.load %x[%i34] : memref<?xbf16>, vector<16xbf16>
          %x36 = arith.extf %x35 : vector<16xbf16> to vector<16xf32>
          %s37 = arith.mulf %x36, %w11 : vector<16xf32>
          %s38 = arith.addf %s37, %const_8 : vector<16xf32>
          %b39 = arith.bitcast %s38 : vector<16xf32> to vector<16xi32>
          %b40 = arith.shli %b39, %const_9 : vector<16xi32>
          %b41 = arith.addi %b31, %b40 : vector<16xi32>
          %i42 = arith.addi %c23, %const_10 : index
          %i43 = arith.muli %i42, %plane : index
          %i44 = arith.addi %i20, %i43 : index
          %x45 = vector.load %x[%i44] : memref<?xbf16>, vector<16xbf16>
          %x46 = arith.extf %x45 : vector<16xbf16> to vector<16xf32>
          %s47 = arith.mulf %x46, %w11 : vector<16xf32>
          %s48 = arith.addf %s47, %const_8 : vector<16xf32>
          %b49 = arith.bitcast %s48 : vector<16xf32> to vector<16xi32>
          %b50 = arith.shli %b49, %const_11 : vector<16xi32>
          %b51 = arith.addi %b41, %b50 : vector<16xi32>
          %i52 = arith.addi %c23, %const_12 : index
          %i53 = arith.muli %i52, %plane : index
          %i54 = arith.addi %i20, %i53 : index
          %x55 = vector.load %x[%i54] : memref<?xbf16>, vector<16xbf16>
          %x56 = arith.extf %x55 : vector<16xbf16> to vector<16xf32>
          %s57 = arith.mulf %x56, %w11 : vector<16xf32>
          %s58 = arith.addf %s57, %const_8 : vector<16xf32>
          %b59 = arith.bitcast %s58 : vector<16xf32> to vector<16xi32>
          %b60 = arith.shli %b59, %const_13 : vector<16xi32>
          %b61 = arith.addi %b51, %b60 : vector<16xi32>
          %b62 = arith.addi %b61, %const_14 : vector<16xi32>
          %t63 = arith.bitcast %b62 : vector<16xi32> to vector<16xf32>
          %i64 = arith.addi %c23, %const_15 : index
          %i65 = arith.muli %i64, %plane : index
          %i66 = arith.addi %i20, %i65 : index
          %x67 = vector.load %x[%i66] : memref<?xbf16>, vector<16xbf16>
          %x68 = arith.extf %x67 : vector<16xbf16> to vector<16xf32>
          %s69 = arith.mulf %x68, %w11 : vector<16xf32>
          %s70 = arith.addf %s69, %const_8 : vector<16xf32>
          %b71 = arith.bitcast %s70 : vector<16xf32> to vector<16xi32>
          %i72 = arith.addi %c23, %const_16 : index
          %i73 = arith.muli %i72, %plane : index
          %i74 = arith.addi %i20, %i73 : index
          %x75 = vector.load %x[%i74] : memref<?xbf16>, vector<16xbf16>
          %x76 = arith.extf %x75 : vector<16xbf16> to vector<16xf32>
          %s77 = arith.mulf %x76, %w11 : vector<16xf32>
          %s78 = arith.addf %s77, %const_8 : vector<16xf32>
          %b79 = arith.bitcast %s78 : vector<16xf32> to vector<16xi32>
          %b80 = arith.shli %b79, %const_9 : vector<16xi32>
          %b81 = arith.addi %b71, %b80 : vector<16xi32>
          %i82 = arith.addi %c23, %const_17 : index
          %i83 = arith.muli %i82, %plane : index
          %i84 = arith.addi %i20, %i83 : index
          %x85 = vector.load %x[%i84] : memref<?xbf16>, vector<16xbf16>
          %x86 = arith.extf %x85 : vector<16xbf16> to vector<16xf32>
          %s87 = arith.mulf %x86, %w11 : vector<16xf32>
          %s88 = arith.addf %s87, %const_8 : vector<16xf32>
          %b89 = arith.bitcast %s88 : vector<16xf32> to vector<16xi32>
          %b90 = arith.shli %b89, %const_11 : vector<16xi32>
          %b91 = arith.addi %b81, %b90 : vector<16xi32>
          %i92 = arith.addi %c23, %const_18 : index
          %i93 = arith.muli %i92, %plane : index
          %i94 = arith.addi %i20, %i93 : index
          %x95 = vector.load %x[%i94] : memref<?xbf16>, vector<16xbf16>
          %x96 = arith.extf %x95 : vector<16xbf16> to vector<16xf32>
          %s97 = arith.mulf %x96, %w11 : vector<16xf32>
          %s98 = arith.addf %s97, %const_8 : vector<16xf32>
          %b99 = arith.bitcast %s98 : vector<16xf32> to vector<16xi32>
          %b100 = arith.shli %b99, %const_13 : vector<16xi32>
          %b101 = arith.addi %b91, %b100 : vector<16xi32>
          %b102 = arith.addi %b101, %const_14 : vector<16xi32>
          %t103 = arith.bitcast %b102 : vector<16xi32> to vector<16xf32>
          %i104 = arith.addi %c23, %const_19 : index
          %i105 = arith.muli %i104, %plane : index
          %i106 = arith.addi %i20, %i105 : index
          %x107 = vector.load %x[%i106] : memref<?xbf16>, vector<16xbf16>
          %x108 = arith.extf %x107 : vector<16xbf16> to vector<16xf32>
          %s109 = arith.mulf %x108, %w11 : vector<16xf32>
          %s110 = arith.addf %s109, %const_8 : vector<16xf32>
          %b111 = arith.bitcast %s110 : vector<16xf32> to vector<16xi32>
          %i112 = arith.addi %c23, %const_20 : index
          %i113 = arith.muli %i112, %plane : index
          %i114 = arith.addi %i20, %i113 : index
          %x115 = vector.load %x[%i114] : memref<?xbf16>, vector<16xbf16>
          %x116 = arith.extf %x115 : vector<16xbf16> to vector<16xf32>
          %s117 = arith.mulf %x116, %w11 : vector<16xf32>
          %s118 = arith.addf %s117, %const_8 : vector<16xf32>
          %b119 = arith.bitcast %s118 : vector<16xf32> to vector<16xi32>
          %b120 = arith.shli %b119, %const_9 : vector<16xi32>
          %b121 = arith.addi %b111, %b120 : vector<16xi32>
          %i122 = arith.addi %c23, %const_21 : index
          %i123 = arith.muli %i122, %plane : index
          %i124 = arith.addi %i20, %i123 : index
          %x125 = vector.load %x[%i124] : memref<?xbf16>, vector<16xbf16>
          %x126 = arith.extf %x125 : vector<16xbf16> to vector<16xf32>
          %s127 = arith.mulf %x126, %w11 : vector<16xf32>
          %s128 = arith.addf %s127, %const_8 : vector<16xf32>
          %b129 = arith.bitcast %s128 : vector<16xf32> to vector<16xi32>
          %b130 = arith.shli %b129, %const_11 : vector<16xi32>
          %b131 = arith.addi %b121, %b130 : vector<16xi32>
          %i132 = arith.addi %c23, %const_22 : index
          %i133 = arith.muli %i132, %plane : index
          %i134 = arith.addi %i20, %i133 : index
          %x135 = vector.load %x[%i134] : memref<?xbf16>, vector<16xbf16>
          %x136 = arith.extf %x135 : vector<16xbf16> to vector<16xf32>
          %s137 = arith.mulf %x136, %w11 : vector<16xf32>
          %s138 = arith.addf %s137, %const_8 : vector<16xf32>
          %b139 = arith.bitcast %s138 : vector<16xf32> to vector<16xi32>
          %b140 = arith.shli %b139, %const_13 : vector<16xi32>
          %b141 = arith.addi %b131, %b140 : vector<16xi32>
          %b142 = arith.addi %b141, %const_14 : vector<16xi32>
          %t143 = arith.bitcast %b142 : vector<16xi32> to vector<16xf32>
          %i144 = arith.addi %c23, %const_23 : index
          %i145 = arith.muli %i144, %plane : index
          %i146 = arith.addi %i20, %i145 : index
          %x147 = vector.load %x[%i146] : memref<?xbf16>, vector<16xbf16>
          %x148 = arith.extf %x147 : vector<16xbf16> to vector<16xf32>
          %s149 = arith.mulf %x148, %w11 : vector<16xf32>
          %s150 = arith.addf %s149, %const_8 : vector<16xf32>
          %b151 = arith.bitcast %s150 : vector<16xf32> to vector<16xi32>
          %i152 = arith.addi %c23, %const_24 : index
          %i153 = arith.muli %i152, %plane : index
          %i154 = arith.addi %i20, %i153 : index
          %x155 = vector.load %x[%i154] : memref<?xbf16>, vector<16xbf16>
          %x156 = arith.extf %x155 : vector<16xbf16> to vector<16xf32>
          %s157 = arith.mulf %x156, %w11 : vector<16xf32>
          %s158 = arith.addf %s157, %const_8 : vector<16xf32>
          %b159 = arith.bitcast %s158 : vector<16xf32> to vector<16xi32>
          %b160 = arith.shli %b159, %const_9 : vector<16xi32>
          %b161 = arith.addi %b151, %b160 : vector<16xi32>
          %i162 = arith.addi %c23, %const_25 : index
          %i163 = arith.muli %i162, %plane : index
          %i164 = arith.addi %i20, %i163 : index
          %x165 = vector.load %x[%i164] : memref<?xbf16>, vector<16xbf16>
          %x166 = arith.extf %x165 : vector<16xbf16> to vector<16xf32>
          %s167 = arith.mulf %x166, %w11 : vector<16xf32>
          %s168 = arith.addf %s167, %const_8 : vector<16xf32>
          %b169 = arith.bitcast %s168 : vector<16xf32> to vector<16xi32>
          %b170 = arith.shli %b169, %const_11 : vector<16xi32>
          %b171 = arith.addi %b161, %b170 : vector<16xi32>
          %i172 = arith.addi %c23, %const_26 : index
          %i173 = arith.muli %i172, %plane : index
          %i174 = arith.addi %i20, %i173 : index
          %x175 = vector.load %x[%i174] : memref<?xbf16>, vector<16xbf16>
          %x176 = arith.extf %x175 : vector<16xbf16> to vector<16xf32>
          %s177 = arith.mulf %x176, %w11 : vector<16xf32>
          %s178 = arith.addf %s177, %const_8 : vector<16xf32>
          %b179 = arith.bitcast %s178 : vector<16xf32> to vector<16xi32>
          %b180 = arith.shli %b179, %const_13 : vector<16xi32>
          %b181 = arith.addi %b171, %b180 : vector<16xi32>
          %b182 = arith.addi %b181, %const_14 : vector<16xi32>
          %t183 = arith.bitcast %b182 : vector<16xi32> to vector<16xf32>
          %t184 = vector.shuffle %t63, %t103 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
          %t185 = vector.shuffle %t63, %t103 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
          %t186 = vector.shuffle %t143, %t183 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
          %t187 = vector.shuffle %t143, %t183 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
          %t188 = vector.shuffle %t184, %t186 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
          %t189 = vector.shuffle %t184, %t186 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
          %t190 = vector.shuffle %t185, %t187 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
          %t191 = vector.shuffle %t185, %t187 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
          %t192 = vector.shuffle %t188, %t188 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q193 = vector.bitcast %t192 : vector<4xf32> to vector<16xi8>
          %i194 = arith.addi %i22, %c23 : index
          %i195 = arith.addi %i194, %const_0 : index
          vector.store %q193, %q[%i195] : memref<?xi8>, vector<16xi8>
          %t196 = vector.shuffle %t189, %t189 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q197 = vector.bitcast %t196 : vector<4xf32> to vector<16xi8>
          %i198 = arith.addi %i22, %c23 : index
          %i199 = arith.addi %i198, %const_7 : index
          vector.store %q197, %q[%i199] : memref<?xi8>, vector<16xi8>
          %t200 = vector.shuffle %t190, %t190 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q201 = vector.bitcast %t200 : vector<4xf32> to vector<16xi8>
          %i202 = arith.addi %i22, %c23 : index
          %i203 = arith.addi %i202, %const_28 : index
          vector.store %q201, %q[%i203] : memref<?xi8>, vector<16xi8>
          %t204 = vector.shuffle %t191, %t191 [0, 1, 2, 3] : vector<16xf32>, vector<16xf32>
          %q205 = vector.bitcast %t204 : vector<4xf32> to vector<16xi8>
          %i206 = arith.addi %i22, %c23 : index
          %i207 = arith.addi %i206, %const_29 : index
          vector.store %q205, %q[%i207] : memref<?xi8>, vector<16xi8>
          %t208 = vector.shuffle %t188, %t188 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q209 = vector.bitcast %t208 : vector<4xf32> to vector<16xi8>
          %i210 = arith.addi %i22, %c23 : index
          %i211 = arith.addi %i210, %const_30 : index
          vector.store %q209, %q[%i211] : memref<?xi8>, vector<16xi8>
          %t212 = vector.shuffle %t189, %t189 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q213 = vector.bitcast %t212 : vector<4xf32> to vector<16xi8>
          %i214 = arith.addi %i22, %c23 : index
          %i215 = arith.addi %i214, %const_31 : index
          vector.store %q213, %q[%i215] : memref<?xi8>, vector<16xi8>
          %t216 = vector.shuffle %t190, %t190 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q217 = vector.bitcast %t216 : vector<4xf32> to vector<16xi8>
          %i218 = arith.addi %i22, %c23 : index
          %i219 = arith.addi %i218, %const_32 : index
          vector.store %q217, %q[%i219] : memref<?xi8>, vector<16xi8>
          %t220 = vector.shuffle %t191, %t191 [4, 5, 6, 7] : vector<16xf32>, vector<16xf32>
          %q221 = vector.bitcast %t220 : vector<4xf32> to vector<16xi8>
          %i222 = arith.addi %i22, %c23 : index
          %i223 = arith.addi %i222, %const_33 : index
          vector.store %q221, %q[%i223] : memref<?xi8>, vector<16xi8>
          %t224 = vector.shuffle %t188, %t188 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q225 = vector.bitcast %t224 : vector<4xf32> to vector<16xi8>
          %i226 = arith.addi %i22, %c23 : index
          %i227 = arith.addi %i226, %const_34 : index
          vector.store %q225, %q[%i227] : memref<?xi8>, vector<16xi8>
          %t228 = vector.shuffle %t189, %t189 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q229 = vector.bitcast %t228 : vector<4xf32> to vector<16xi8>
          %i230 = arith.addi %i22, %c23 : index
          %i231 = arith.addi %i230, %const_35 : index
          vector.store %q229, %q[%i231] : memref<?xi8>, vector<16xi8>
          %t232 = vector.shuffle %t190, %t190 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q233 = vector.bitcast %t232 : vector<4xf32> to vector<16xi8>
          %i234 = arith.addi %i22, %c23 : index
          %i235 = arith.addi %i234, %const_36 : index
          vector.store %q233, %q[%i235] : memref<?xi8>, vector<16xi8>
          %t236 = vector.shuffle %t191, %t191 [8, 9, 10, 11] : vector<16xf32>, vector<16xf32>
          %q237 = vector.bitcast %t236 : vector<4xf32> to vector<16xi8>
          %i238 = arith.addi %i22, %c23 : index
          %i239 = arith.addi %i238, %const_37 : index
          vector.store %q237, %q[%i239] : memref<?xi8>, vector<16xi8>
          %t240 = vector.shuffle %t188, %t188 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q241 = vector.bitcast %t240 : vector<4xf32> to vector<16xi8>
          %i242 = arith.addi %i22, %c23 : index
          %i243 = arith.addi %i242, %const_38 : index
          vector.store %q241, %q[%i243] : memref<?xi8>, vector<16xi8>
          %t244 = vector.shuffle %t189, %t189 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q245 = vector.bitcast %t244 : vector<4xf32> to vector<16xi8>
          %i246 = arith.addi %i22, %c23 : index
          %i247 = arith.addi %i246, %const_39 : index
          vector.store %q245, %q[%i247] : memref<?xi8>, vector<16xi8>
          %t248 = vector.shuffle %t190, %t190 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q249 = vector.bitcast %t248 : vector<4xf32> to vector<16xi8>
          %i250 = arith.addi %i22, %c23 : index
          %i251 = arith.addi %i250, %const_40 : index
          vector.store %q249, %q[%i251] : memref<?xi8>, vector<16xi8>
          %t252 = vector.shuffle %t191, %t191 [12, 13, 14, 15] : vector<16xf32>, vector<16xf32>
          %q253 = vector.bitcast %t252 : vector<4xf32> to vector<16xi8>
          %i254 = arith.addi %i22, %c23 : index
          %i255 = arith.addi %i254, %const_41 : index
          vector.store %q253, %q[%i255] : memref<?xi8>, vector<16xi8>
        }
      }
    }
  }
  return
}
