/** Checks of single values, with the option's name in every error. */
import { OptionError } from '../errors.js'
import { normalizeSegment } from '../http/target.js'

/** The largest value of a signed 32-bit integer: what both engines, and Node's timers, can count to. */
export const MAX_INT32 = 2 ** 31 - 1

export type Names<T> = readonly (keyof T & string)[]

/** `/`, then segments: literal, `:name`, or `*` as the last one. */
export function checkPath(option: string, path: string, alternative = ''): void {
  const expected = `${alternative}a path that begins with '/'`
  if (typeof path !== 'string' || !path.startsWith('/')) throw new OptionError(option, path, expected)
  if (/[?#]/.test(path)) throw new OptionError(option, path, `${expected}, without query or fragment`)
  const segments = path.split('/')
  const impossible = segments.find((segment) => normalizeSegment(segment) === undefined)
  if (impossible !== undefined) {
    throw new OptionError(
      option,
      path,
      `${expected}, with segments that a request can have, unlike ${JSON.stringify(impossible)}`,
    )
  }
  const names = segments.filter((segment) => segment.startsWith(':'))
  if (names.some((name) => !/^:[A-Za-z_]\w*$/.test(name)) || new Set(names).size < names.length) {
    throw new OptionError(option, path, `${expected}, with parameters like ':room', each named once`)
  }
  if (segments.slice(0, -1).includes('*') || segments.some((segment) => segment.length > 1 && segment.includes('*'))) {
    throw new OptionError(option, path, `${expected}, with '*' only as its last segment`)
  }
}

export function checkFunction(option: string, value: unknown): void {
  if (typeof value !== 'function') throw new OptionError(option, value, 'a function')
}

/** `prefix` is what the names of the object's own options begin with in errors. */
export function checkObject(option: string, value: object, names: readonly string[] | undefined, prefix = ''): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new OptionError(option, value, 'an object')
  const unknown = names && Object.keys(value).find((name) => !names.includes(name))
  if (unknown !== undefined) {
    throw new OptionError(`${prefix}${unknown}`, unknown, `a known option (${names?.join(', ')})`)
  }
}

/** As `checkObject`, for what may have passwords in it: the error does not have the value. */
export function checkSecretObject(option: string, value: object, names: readonly string[] | undefined): void {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw new OptionError(option, '…', 'an object')
  checkObject(option, value, names)
}

export function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

export function checkNonEmptyString(option: string, value: string, meaning: string): void {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) throw new OptionError(option, value, meaning)
}

export function checkBoolean(option: string, value: boolean): void {
  if (typeof value !== 'boolean') throw new OptionError(option, value, 'true or false')
}

export function checkInteger(option: string, value: number, low: number, high: number, unit = ''): void {
  if (!isIntegerBetween(value, low, high)) throw new OptionError(option, value, `an integer from ${low} to ${high}${unit}`)
}

export function isIntegerBetween(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high
}
