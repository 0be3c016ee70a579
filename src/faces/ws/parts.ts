/**
 * Parts of `ws` that it exports and documents nowhere. They are here so that importing them is no error;
 * their use throws NotSupportedError. None has the static methods by which programs look for them.
 */
import { NotSupportedError } from '../../index.js'

const INSTEAD = 'take it from the `ws` package: no connection of this face has one'

function absent(name: string): () => never {
  return () => {
    throw new NotSupportedError(name, INSTEAD)
  }
}

/** Throws NotSupportedError. */
export class Receiver {
  constructor() {
    absent('Receiver')()
  }
}

/** Throws NotSupportedError. */
export class Sender {
  constructor() {
    absent('Sender')()
  }
}

/** Throws NotSupportedError. */
export class PerMessageDeflate {
  constructor() {
    absent('PerMessageDeflate')()
  }
}

/** Both throw NotSupportedError. */
export const extension = { parse: absent('extension.parse'), format: absent('extension.format') }

/** Throws NotSupportedError. */
export const subprotocol = { parse: absent('subprotocol.parse') }
