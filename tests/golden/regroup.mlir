func.func @_mlir_regroup(%x_ptr: memref<1xf32>, %out_ptr: memref<1xf32>, %source_ptr: memref<1xi64>, %taken_ptr: memref<1xi16>, %to_ptr: memref<1xi64>, %count: index, %step: index, %c_lo: index, %c_hi: index) {
  %const_0 = arith.constant 0 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant 16 : index
  %const_3 = arith.constant dense<0.0> : vector<16xf32>
  %const_4 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_4], strides: [1] : memref<1xf32> to memref<?xf32>
  %out = memref.reinterpret_cast %out_ptr to offset: [0], sizes: [%const_4], strides: [1] : memref<1xf32> to memref<?xf32>
  %source = memref.reinterpret_cast %source_ptr to offset: [0], sizes: [%const_4], strides: [1] : memref<1xi64> to memref<?xi64>
  %taken = memref.reinterpret_cast %taken_ptr to offset: [0], sizes: [%const_4], strides: [1] : memref<1xi16> to memref<?xi16>
  %to = memref.reinterpret_cast %to_ptr to offset: [0], sizes: [%const_4], strides: [1] : memref<1xi64> to memref<?xi64>
  scf.for %p1 = %const_0 to %count step %const_1 {
    %s2 = memref.load %source[%p1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %s4 = memref.load %to[%p1] : memref<?xi64>
    %i5 = arith.index_cast %s4 : i64 to index
    %s6 = memref.load %taken[%p1] : memref<?xi16>
    %m7 = llvm.bitcast %s6 : i16 to vector<16xi1>
    %s8 = memref.load %taken[%p1] : memref<?xi16>
    %n9 = math.ctpop %s8 : i16
    %n10 = arith.index_castui %n9 : i16 to index
    %m11 = vector.create_mask %n10 : vector<16xi1>
    scf.for %c12 = %c_lo to %c_hi step %const_1 {
      %i13 = arith.muli %c12, %const_2 : index
      %i14 = arith.addi %i3, %i13 : index
      %x15 = vector.load %x[%i14] : memref<?xf32>, vector<16xf32>
      %x16 = llvm.call_intrinsic "llvm.experimental.vector.compress.v16f32"(%x15, %m7, %const_3) : (vector<16xf32>, vector<16xi1>, vector<16xf32>) -> vector<16xf32>
      %i17 = arith.muli %c12, %step : index
      %i18 = arith.addi %i5, %i17 : index
      vector.maskedstore %out[%i18], %m11, %x16 : memref<?xf32>, vector<16xi1>, vector<16xf32>
    }
  }
  return
}
