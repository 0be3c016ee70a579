/** The texts that go through backplanes: 100 bytes, with the time, a number, and what fills the rest. */

/** Bytes of a text. */
export const SIZE = 100
/** Microseconds of the system's monotonic clock, which all processes of a machine share. */
export const TIME_DIGITS = 16
export const NUMBER_DIGITS = 9
/** What follows time, space and number. */
export const FILLER = ` ${'abcdefghijklmnopqrstuvwxyz'.repeat(4)}`.slice(0, SIZE - TIME_DIGITS - 1 - NUMBER_DIGITS)
/** A text that is none of them, by which it is seen that they would arrive. */
export const PROBE = 'probe'
