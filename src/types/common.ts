/** Types that the others are made of. */

/** What can be sent: a string goes out as text (UTF-8), bytes as binary, unless SendOptions say otherwise. */
export type Data = string | ArrayBuffer | ArrayBufferView

/** A value, or a promise of it. */
export type Awaitable<T> = T | Promise<T>

/** The parameters in a route's path: `/chat/:room` gives `{ room: string }`. */
export type Params<P extends string> = string extends P
  ? Record<string, string>
  : P extends `${string}:${infer K}/${infer R}`
    ? { [k in K]: string } & Params<R>
    : P extends `${string}:${infer K}`
      ? { [k in K]: string }
      : // An empty object type is what "no parameters" means here.
        // biome-ignore lint/complexity/noBannedTypes: see above
        {}
