/** The part of it that tests in TypeScript use. */
export class Random {
  constructor(seed: number)
  int(end: number): number
  chance(probability: number): boolean
  pick<T>(list: readonly [T, ...T[]]): T
}
