/** What has gone wrong with a broker, for errors and their messages. */

/**
 * The error with message, code and stack alone. Clients put the failed command on their errors, with the
 * password where it was AUTH.
 */
export function withoutSecrets(cause: unknown): Error {
  const error = new Error(reasonOf(cause))
  if (!(cause instanceof Error)) return error
  error.name = cause.name
  if (cause.stack !== undefined) error.stack = cause.stack
  return 'code' in cause && typeof cause.code === 'string' ? Object.assign(error, { code: cause.code }) : error
}

/** The message of an error, or of the errors in it. */
export function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.message === '') return cause.errors.map(reasonOf).join('; ')
  if (!(cause instanceof Error)) return String(cause)
  return cause.message || ('code' in cause ? String(cause.code) : cause.name)
}
