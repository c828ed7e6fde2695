func.func @_mlir_quantize(%x_ptr: memref<1xbf16>, %q_ptr: memref<1xi8>, %scale_ptr: memref<1xf32>, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant 18 : index
  %const_3 = arith.constant 32 : index
  %const_4 = arith.constant dense<0> : vector<16xi32>
  %const_5 = arith.constant 0 : index
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant dense<2147483647> : vector<16xi32>
  %const_8 = arith.constant dense<0.0> : vector<16xbf16>
  %const_9 = arith.constant 2139095040 : i32
  %const_10 = arith.constant 226492416 : i32
  %const_11 = arith.constant 127.0 : f32
  %const_12 = arith.constant 0x7FC00000 : f32
  %const_13 = arith.constant dense<1.258304000e+07> : vector<16xf32>
  %const_14 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_14], strides: [1] : memref<1xbf16> to memref<?xbf16>
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_14], strides: [1] : memref<1xi8> to memref<?xi8>
  %scale = memref.reinterpret_cast %scale_ptr to offset: [0], sizes: [%const_14], strides: [1] : memref<1xf32> to memref<?xf32>
  %m1 = vector.create_mask %const_0 : vector<16xi1>
  scf.for %row2 = %row_lo to %row_hi step %const_1 {
    %i3 = arith.muli %row2, %const_2 : index
    %i4 = arith.muli %row2, %const_3 : index
    %r8:2 = scf.for %k5 = %const_5 to %const_5 step %const_3 iter_args(%a6 = %const_4, %a7 = %const_4) -> (vector<16xi32>, vector<16xi32>) {
      %i9 = arith.addi %i3, %k5 : index
      %i10 = arith.addi %i9, %const_6 : index
      %x11 = vector.load %x[%i9] : memref<?xbf16>, vector<16xbf16>
      %x12 = arith.extf %x11 : vector<16xbf16> to vector<16xf32>
      %b13 = arith.bitcast %x12 : vector<16xf32> to vector<16xi32>
      %b14 = arith.andi %b13, %const_7 : vector<16xi32>
      %b15 = arith.maxsi %a6, %b14 : vector<16xi32>
      %x16 = vector.load %x[%i10] : memref<?xbf16>, vector<16xbf16>
      %x17 = arith.extf %x16 : vector<16xbf16> to vector<16xf32>
      %b18 = arith.bitcast %x17 : vector<16xf32> to vector<16xi32>
      %b19 = arith.andi %b18, %const_7 : vector<16xi32>
      %b20 = arith.maxsi %a7, %b19 : vector<16xi32>
      scf.yield %b15, %b20 : vector<16xi32>, vector<16xi32>
    }
    %b21 = arith.maxsi %r8#0, %r8#1 : vector<16xi32>
    %i22 = arith.addi %i3, %const_5 : index
    %x23 = vector.load %x[%i22] : memref<?xbf16>, vector<16xbf16>
    %x24 = arith.extf %x23 : vector<16xbf16> to vector<16xf32>
    %b25 = arith.bitcast %x24 : vector<16xf32> to vector<16xi32>
    %b26 = arith.andi %b25, %const_7 : vector<16xi32>
    %b27 = arith.maxsi %b21, %b26 : vector<16xi32>
    %i28 = arith.addi %i3, %const_6 : index
    %x29 = vector.maskedload %x[%i28], %m1, %const_8 : memref<?xbf16>, vector<16xi1>, vector<16xbf16> into vector<16xbf16>
    %x30 = arith.extf %x29 : vector<16xbf16> to vector<16xf32>
    %b31 = arith.bitcast %x30 : vector<16xf32> to vector<16xi32>
    %b32 = arith.andi %b31, %const_7 : vector<16xi32>
    %b33 = arith.maxsi %b27, %b32 : vector<16xi32>
    %b34 = vector.reduction <maxsi>, %b33 : vector<16xi32> into i32
    %p35 = arith.cmpi slt, %b34, %const_9 : i32
    %b36 = arith.maxsi %b34, %const_10 : i32
    %s37 = arith.bitcast %b36 : i32 to f32
    %s38 = arith.divf %s37, %const_11 : f32
    %s39 = arith.select %p35, %s38, %const_12 : f32
    memref.store %s39, %scale[%row2] : memref<?xf32>
    %s40 = arith.divf %const_11, %s37 : f32
    %w41 = vector.broadcast %s40 : f32 to vector<16xf32>
    scf.for %k42 = %const_5 to %const_6 step %const_6 {
      %i43 = arith.addi %i3, %k42 : index
      %x44 = vector.load %x[%i43] : memref<?xbf16>, vector<16xbf16>
      %x45 = arith.extf %x44 : vector<16xbf16> to vector<16xf32>
      %i46 = arith.addi %i4, %k42 : index
      %s47 = arith.mulf %x45, %w41 : vector<16xf32>
      %s48 = arith.addf %s47, %const_13 : vector<16xf32>
      %b49 = arith.bitcast %s48 : vector<16xf32> to vector<16xi32>
      %q50 = arith.trunci %b49 : vector<16xi32> to vector<16xi8>
      vector.store %q50, %q[%i46] : memref<?xi8>, vector<16xi8>
    }
    %i51 = arith.addi %i3, %const_6 : index
    %x52 = vector.maskedload %x[%i51], %m1, %const_8 : memref<?xbf16>, vector<16xi1>, vector<16xbf16> into vector<16xbf16>
    %x53 = arith.extf %x52 : vector<16xbf16> to vector<16xf32>
    %i54 = arith.addi %i4, %const_6 : index
    %s55 = arith.mulf %x53, %w41 : vector<16xf32>
    %s56 = arith.addf %s55, %const_13 : vector<16xf32>
    %b57 = arith.bitcast %s56 : vector<16xf32> to vector<16xi32>
    %q58 = arith.trunci %b57 : vector<16xi32> to vector<16xi8>
    vector.store %q58, %q[%i54] : memref<?xi8>, vector<16xi8>
  }
  return
}
