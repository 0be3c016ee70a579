/** The rights of a user without privileges. */

/** The user ID that Linux and macOS keep for "nobody", or that no user has. */
const NOBODY = 65_534

/** Root may read every file: then the rights of "nobody" are taken for the time of the call. */
export async function withoutPrivileges<T>(call: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(NOBODY)
  try {
    return await call()
  } finally {
    if (isRoot) process.seteuid?.(0)
  }
}
