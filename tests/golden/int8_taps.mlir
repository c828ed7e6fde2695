func.func @_mlir_taps8(%q_ptr: memref<1xi8>, %values_ptr: memref<1xi8>, %columns_ptr: memref<1xi8>, %at_ptr: memref<1xi32>, %start_ptr: memref<1xi64>, %ys_ptr: memref<1xi32>, %stride: index, %count: index, %group_lo: index, %group_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 2 : index
  %const_4 = arith.constant 64 : index
  %const_5 = arith.constant dense<0> : vector<16xi32>
  %const_6 = arith.constant 2048 : index
  %const_7 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi8> to memref<?xi8>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi8> to memref<?xi8>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi8> to memref<?xi8>
  %at = memref.reinterpret_cast %at_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi32> to memref<?xi32>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi64> to memref<?xi64>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi32> to memref<?xi32>
  scf.for %group1 = %group_lo to %group_hi step %const_0 {
    %s2 = memref.load %start[%group1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %i4 = arith.addi %group1, %const_0 : index
    %s5 = memref.load %start[%i4] : memref<?xi64>
    %i6 = arith.index_cast %s5 : i64 to index
    %i7 = arith.muli %group1, %const_1 : index
    scf.for %pixel8 = %const_2 to %count step %const_3 {
      %i9 = arith.muli %pixel8, %const_4 : index
      %r13:2 = scf.for %slot10 = %i3 to %i6 step %const_0 iter_args(%a11 = %const_5, %a12 = %const_5) -> (vector<16xi32>, vector<16xi32>) {
        %i14 = arith.muli %slot10, %const_4 : index
        %x15 = vector.load %values[%i14] : memref<?xi8>, vector<64xi8>
        %x16 = vector.load %columns[%i14] : memref<?xi8>, vector<64xi8>
        %i17 = arith.addi %i14, %const_6 : index
        memref.prefetch %values[%i17], read, locality<3>, data : memref<?xi8>
        %i18 = arith.addi %i14, %const_6 : index
        memref.prefetch %columns[%i18], read, locality<3>, data : memref<?xi8>
        %s19 = memref.load %at[%slot10] : memref<?xi32>
        %i20 = arith.index_cast %s19 : i32 to index
        %i21 = arith.addi %i9, %i20 : index
        %i22 = arith.addi %i21, %const_2 : index
        %i23 = arith.addi %i22, %const_2 : index
        %x24 = vector.load %q[%i23] : memref<?xi8>, vector<64xi8>
        %p25 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x24, %x16) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d26 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a11, %p25, %x15) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        %i27 = arith.addi %i21, %const_4 : index
        %i28 = arith.addi %i27, %const_2 : index
        %x29 = vector.load %q[%i28] : memref<?xi8>, vector<64xi8>
        %p30 = llvm.call_intrinsic "llvm.x86.avx512.permvar.qi.512"(%x29, %x16) : (vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %d31 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a12, %p30, %x15) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d26, %d31 : vector<16xi32>, vector<16xi32>
      }
      %i32 = arith.addi %pixel8, %const_2 : index
      %i33 = arith.muli %i32, %stride : index
      %i34 = arith.addi %i33, %i7 : index
      vector.store %r13#0, %ys[%i34] : memref<?xi32>, vector<16xi32>
      %i35 = arith.addi %pixel8, %const_0 : index
      %i36 = arith.muli %i35, %stride : index
      %i37 = arith.addi %i36, %i7 : index
      vector.store %r13#1, %ys[%i37] : memref<?xi32>, vector<16xi32>
    }
  }
  return
}
func.func @_mlir_taps8(%q_ptr: memref<1xi8>, %values_ptr: memref<1xi8>, %columns_ptr: memref<1xi8>, %at_ptr: memref<1xi32>, %start_ptr: memref<1xi64>, %ys_ptr: memref<1xi32>, %stride: index, %count: index, %group_lo: index, %group_hi: index) {
  %const_0 = arith.constant 1 : index
  %const_1 = arith.constant 16 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 6 : index
  %const_4 = arith.constant dense<0> : vector<16xi32>
  %const_5 = arith.constant 64 : index
  %const_6 = arith.constant 2048 : index
  %const_7 = arith.constant dense<0> : vector<64xi8>
  %const_8 = arith.constant 128 : index
  %const_9 = arith.constant 192 : index
  %const_10 = arith.constant 1099511627776 : index
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %at = memref.reinterpret_cast %at_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi32> to memref<?xi32>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi64> to memref<?xi64>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi32> to memref<?xi32>
  scf.for %group1 = %group_lo to %group_hi step %const_0 {
    %s2 = memref.load %start[%group1] : memref<?xi64>
    %i3 = arith.index_cast %s2 : i64 to index
    %i4 = arith.addi %group1, %const_0 : index
    %s5 = memref.load %start[%i4] : memref<?xi64>
    %i6 = arith.index_cast %s5 : i64 to index
    %i7 = arith.muli %group1, %const_1 : index
    scf.for %pixel8 = %const_2 to %count step %const_0 {
      %i9 = arith.muli %pixel8, %const_3 : index
      %r12:1 = scf.for %slot10 = %i3 to %i6 step %const_0 iter_args(%a11 = %const_4) -> (vector<16xi32>) {
        %i13 = arith.muli %slot10, %const_5 : index
        %x14 = vector.load %values[%i13] : memref<?xi8>, vector<64xi8>
        %x15 = vector.load %columns[%i13] : memref<?xi8>, vector<64xi8>
        %i16 = arith.addi %i13, %const_6 : index
        memref.prefetch %values[%i16], read, locality<3>, data : memref<?xi8>
        %i17 = arith.addi %i13, %const_6 : index
        memref.prefetch %columns[%i17], read, locality<3>, data : memref<?xi8>
        %s18 = memref.load %at[%slot10] : memref<?xi32>
        %i19 = arith.index_cast %s18 : i32 to index
        %i20 = arith.addi %i9, %i19 : index
        %m21 = arith.cmpi slt, %x15, %const_7 : vector<64xi8>
        %i22 = arith.addi %i20, %const_2 : index
        %i23 = arith.addi %i22, %const_2 : index
        %x24 = vector.load %q[%i23] : memref<?xi8>, vector<64xi8>
        %i25 = arith.addi %i22, %const_5 : index
        %x26 = vector.load %q[%i25] : memref<?xi8>, vector<64xi8>
        %i27 = arith.addi %i22, %const_8 : index
        %x28 = vector.load %q[%i27] : memref<?xi8>, vector<64xi8>
        %i29 = arith.addi %i22, %const_9 : index
        %x30 = vector.load %q[%i29] : memref<?xi8>, vector<64xi8>
        %p31 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x24, %x15, %x26) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p32 = llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"(%x28, %x15, %x30) : (vector<64xi8>, vector<64xi8>, vector<64xi8>) -> vector<64xi8>
        %p33 = arith.select %m21, %p32, %p31 : vector<64xi1>, vector<64xi8>
        %d34 = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%a11, %p33, %x14) : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
        scf.yield %d34 : vector<16xi32>
      }
      %i35 = arith.addi %pixel8, %const_2 : index
      %i36 = arith.muli %i35, %stride : index
      %i37 = arith.addi %i36, %i7 : index
      vector.store %r12#0, %ys[%i37] : memref<?xi32>, vector<16xi32>
    }
  }
  return
}
