func.func @_mlir_regroup(%x_ptr: memref<1xf32>, %out_ptr: memref<1xf32>, %starts_ptr: memref<1xi64>, %masks_ptr: memref<1xi16>, %lanes_ptr: memref<1xi8>, %count: index, %x_step: index, %step: index, %c_lo: index, %c_hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant 0 : index
  %const_2 = arith.constant 1 : index
  %const_3 = arith.constant 3 : index
  %const_4 = arith.constant 4 : index
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant dense<0.0> : vector<16xf32>
  %const_7 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %out = memref.reinterpret_cast %out_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %starts = memref.reinterpret_cast %starts_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi64> to memref<?xi64>
  %masks = memref.reinterpret_cast %masks_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi16> to memref<?xi16>
  %lanes = memref.reinterpret_cast %lanes_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi8> to memref<?xi8>
  scf.for %block1 = %c_lo to %c_hi step %const_0 {
    scf.for %p2 = %const_1 to %count step %const_2 {
      %i3 = arith.muli %p2, %const_3 : index
      %i4 = arith.muli %p2, %const_4 : index
      %i5 = arith.addi %i3, %const_1 : index
      %s6 = memref.load %starts[%i5] : memref<?xi64>
      %i7 = arith.index_cast %s6 : i64 to index
      %i8 = arith.addi %i3, %const_2 : index
      %s9 = memref.load %starts[%i8] : memref<?xi64>
      %i10 = arith.index_cast %s9 : i64 to index
      %i11 = arith.addi %i3, %const_5 : index
      %s12 = memref.load %starts[%i11] : memref<?xi64>
      %i13 = arith.index_cast %s12 : i64 to index
      %i14 = arith.addi %i4, %const_1 : index
      %s15 = memref.load %masks[%i14] : memref<?xi16>
      %m16 = llvm.bitcast %s15 : i16 to vector<16xi1>
      %i17 = arith.addi %i4, %const_2 : index
      %s18 = memref.load %masks[%i17] : memref<?xi16>
      %m19 = llvm.bitcast %s18 : i16 to vector<16xi1>
      %i20 = arith.addi %i4, %const_5 : index
      %s21 = memref.load %masks[%i20] : memref<?xi16>
      %m22 = llvm.bitcast %s21 : i16 to vector<16xi1>
      %i23 = arith.addi %i4, %const_3 : index
      %s24 = memref.load %masks[%i23] : memref<?xi16>
      %m25 = llvm.bitcast %s24 : i16 to vector<16xi1>
      %i26 = arith.muli %p2, %const_0 : index
      %x27 = vector.load %lanes[%i26] : memref<?xi8>, vector<16xi8>
      %v28 = arith.extui %x27 : vector<16xi8> to vector<16xi32>
      %i29 = arith.addi %block1, %const_0 : index
      %i30 = arith.minsi %i29, %c_hi : index
      scf.for %c31 = %block1 to %i30 step %const_2 {
        %i32 = arith.muli %c31, %x_step : index
        %i33 = arith.addi %i7, %i32 : index
        %x34 = vector.maskedload %x[%i33], %m16, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %i35 = arith.addi %i10, %i32 : index
        %x36 = vector.maskedload %x[%i35], %m19, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %x37 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x34, %v28, %x36) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %x38 = arith.select %m22, %x37, %const_6 : vector<16xi1>, vector<16xf32>
        %i39 = arith.muli %c31, %step : index
        %i40 = arith.addi %i13, %i39 : index
        vector.maskedstore %out[%i40], %m25, %x38 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
    }
  }
  return
}
func.func @_mlir_regroup(%x_ptr: memref<1xbf16>, %out_ptr: memref<1xf32>, %starts_ptr: memref<1xi64>, %masks_ptr: memref<1xi16>, %lanes_ptr: memref<1xi8>, %count: index, %x_step: index, %step: index, %c_lo: index, %c_hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant 0 : index
  %const_2 = arith.constant 1 : index
  %const_3 = arith.constant 3 : index
  %const_4 = arith.constant 4 : index
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant dense<0.0> : vector<16xbf16>
  %const_7 = arith.constant dense<0.0> : vector<16xf32>
  %const_8 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xbf16> to memref<?xbf16>
  %out = memref.reinterpret_cast %out_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %starts = memref.reinterpret_cast %starts_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi64> to memref<?xi64>
  %masks = memref.reinterpret_cast %masks_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi16> to memref<?xi16>
  %lanes = memref.reinterpret_cast %lanes_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi8> to memref<?xi8>
  scf.for %block1 = %c_lo to %c_hi step %const_0 {
    scf.for %p2 = %const_1 to %count step %const_2 {
      %i3 = arith.muli %p2, %const_3 : index
      %i4 = arith.muli %p2, %const_4 : index
      %i5 = arith.addi %i3, %const_1 : index
      %s6 = memref.load %starts[%i5] : memref<?xi64>
      %i7 = arith.index_cast %s6 : i64 to index
      %i8 = arith.addi %i3, %const_2 : index
      %s9 = memref.load %starts[%i8] : memref<?xi64>
      %i10 = arith.index_cast %s9 : i64 to index
      %i11 = arith.addi %i3, %const_5 : index
      %s12 = memref.load %starts[%i11] : memref<?xi64>
      %i13 = arith.index_cast %s12 : i64 to index
      %i14 = arith.addi %i4, %const_1 : index
      %s15 = memref.load %masks[%i14] : memref<?xi16>
      %m16 = llvm.bitcast %s15 : i16 to vector<16xi1>
      %i17 = arith.addi %i4, %const_2 : index
      %s18 = memref.load %masks[%i17] : memref<?xi16>
      %m19 = llvm.bitcast %s18 : i16 to vector<16xi1>
      %i20 = arith.addi %i4, %const_5 : index
      %s21 = memref.load %masks[%i20] : memref<?xi16>
      %m22 = llvm.bitcast %s21 : i16 to vector<16xi1>
      %i23 = arith.addi %i4, %const_3 : index
      %s24 = memref.load %masks[%i23] : memref<?xi16>
      %m25 = llvm.bitcast %s24 : i16 to vector<16xi1>
      %i26 = arith.muli %p2, %const_0 : index
      %x27 = vector.load %lanes[%i26] : memref<?xi8>, vector<16xi8>
      %v28 = arith.extui %x27 : vector<16xi8> to vector<16xi32>
      %i29 = arith.addi %block1, %const_0 : index
      %i30 = arith.minsi %i29, %c_hi : index
      scf.for %c31 = %block1 to %i30 step %const_2 {
        %i32 = arith.muli %c31, %x_step : index
        %i33 = arith.addi %i7, %i32 : index
        %x34 = vector.maskedload %x[%i33], %m16, %const_6 : memref<?xbf16>, vector<16xi1>, vector<16xbf16> into vector<16xbf16>
        %x35 = arith.extf %x34 : vector<16xbf16> to vector<16xf32>
        %i36 = arith.addi %i10, %i32 : index
        %x37 = vector.maskedload %x[%i36], %m19, %const_6 : memref<?xbf16>, vector<16xi1>, vector<16xbf16> into vector<16xbf16>
        %x38 = arith.extf %x37 : vector<16xbf16> to vector<16xf32>
        %x39 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%x35, %v28, %x38) : (vector<16xf32>, vector<16xi32>, vector<16xf32>) -> vector<16xf32>
        %x40 = arith.select %m22, %x39, %const_7 : vector<16xi1>, vector<16xf32>
        %i41 = arith.muli %c31, %step : index
        %i42 = arith.addi %i13, %i41 : index
        vector.maskedstore %out[%i42], %m25, %x40 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
    }
  }
  return
}
