/**
 * @typedef {object} Spread
 * @property {number} median
 * @property {number} q1 a quarter of the values are below
 * @property {number} q3 a quarter of the values are above
 */

/**
 * Quartiles, with linear interpolation between neighbours. @param {readonly number[]} values @returns
 * {Spread}
 */
export function spread(values) {
  const sorted = [...values].sort((a, b) => a - b)
  /** @param {number} share */
  const quantile = (share) => {
    const at = share * (sorted.length - 1)
    const below = sorted[Math.floor(at)] ?? Number.NaN
    const above = sorted[Math.ceil(at)] ?? Number.NaN
    return below + (above - below) * (at - Math.floor(at))
  }
  return { median: quantile(0.5), q1: quantile(0.25), q3: quantile(0.75) }
}
