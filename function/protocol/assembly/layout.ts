/*
 * The module's memory. The exported addresses are for numbers.ts, which writes the input of read()
 * and write(), and reads their results.
 */

/** The maximum count of FP32 values for write(). */
export const MOST_FLOATS: i32 = 4096
/** The FP32 values for write(). */
export const FLOATS: usize = memory.data(4096 * 4, 16)
/** The maximum length of the text that write() writes: a comma and 1.17549435e-38 per value. */
export const MOST_TEXT: i32 = 65536
export const TEXT: usize = memory.data(65536 + 16, 16)

/** The maximum length of the JSON for read(), in bytes. */
export const MOST_BYTES: i32 = 131072
/** The JSON for read(), followed by a zero byte. */
export const INPUT: usize = memory.data(131072 + 16, 16)
/** The FP64 values that read() reads. A number and its comma have at least two bytes. */
export const DOUBLES: usize = memory.data((131072 / 2) * 8, 16)

/** Arrays that are nested more deeply are not read. */
export const MOST_DEPTH: i32 = 16
/** The length of the arrays at each depth; 0 if there is no array at this depth. */
export const LENGTHS: usize = memory.data(16 * 4, 16)

/** The maximum count of numbers that read() leaves to its caller. */
export const MOST_LEFT: i32 = 1024
/** For each number left: its index among the values, its start and its end in the JSON. */
export const LEFT: usize = memory.data(1024 * 12, 16)

export const LEAST_POWER: i32 = -60
export const MOST_POWER: i32 = 45
/**
 * The 128 most significant bits of each power of ten from LEAST_POWER to MOST_POWER: the upper 64
 * bits, then the lower. The caller writes them before the first call.
 */
export const POWERS: usize = memory.data(106 * 16, 16)
