/** Responses of statuses that the class Response itself does not take. */

/** The last one that it takes. */
const LAST = 599
/** The last one with three digits. */
const VERY_LAST = 999

/** Throws RangeError for statuses below 200 or above 999. */
export function responseOf(
  body: ConstructorParameters<typeof Response>[0],
  init: { readonly status: number; readonly statusText: string; readonly headers: [name: string, value: string][] },
): Response {
  const { status } = init
  if (status <= LAST || status > VERY_LAST) return new Response(body, init)
  const response = new Response(body, { ...init, status: 500 })
  return Object.defineProperty(response, 'status', { value: status })
}
