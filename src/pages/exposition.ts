/**
 * Metrics as text: OpenMetrics 1.0, and the older text format of Prometheus, which differs in the names of
 * counters' families, in the type of information, in units, and in its end.
 */
import type { Histogram } from '../core/histogram.js'

export type Labels = Readonly<Record<string, string>>
type MetricType = 'counter' | 'gauge' | 'histogram' | 'info'
type Unit = 'bytes' | 'seconds'

export interface Family {
  /** Without `_total` and `_info`. Ends with the unit, where there is one. */
  readonly name: string
  readonly type: MetricType
  readonly unit?: Unit
  /** One sentence. */
  readonly help: string
}

const CONTENT_TYPES = {
  openMetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  text: 'text/plain; version=0.0.4; charset=utf-8',
} as const

export type Format = keyof typeof CONTENT_TYPES

/**
 * The format for an Accept header. Prometheus names OpenMetrics where it takes that; a program that takes any
 * type, or says nothing, gets OpenMetrics too.
 */
export function formatFor(accept: string | null): Format {
  if (accept === null || accept.includes('application/openmetrics-text')) return 'openMetrics'
  return accept.includes('text/plain') ? 'text' : 'openMetrics'
}

export class Exposition {
  readonly #format: Format
  readonly #lines: string[] = []

  constructor(format: Format) {
    this.#format = format
  }

  get contentType(): string {
    return CONTENT_TYPES[this.#format]
  }

  /** A family with one sample for each combination of labels; nothing where there is none. */
  add(family: Family, samples: Iterable<readonly [labels: Labels, value: number]>): void {
    const suffix = { counter: '_total', info: '_info', gauge: '', histogram: '' }[family.type]
    const lines = [...samples].map(([labels, value]) => `${family.name}${suffix}${labelText(labels)} ${numberText(value)}`)
    if (lines.length > 0) this.#lines.push(...this.#head(family, suffix), ...lines)
  }

  /** A family of histograms; nothing where there is none. */
  addHistograms(family: Family, histograms: Iterable<readonly [labels: Labels, histogram: Histogram]>): void {
    const lines: string[] = []
    for (const [labels, histogram] of histograms) {
      const counts = histogram.cumulative()
      counts.forEach((count, index) => {
        const bound = histogram.bounds[index]
        const le = bound === undefined ? '+Inf' : decimal(bound)
        lines.push(`${family.name}_bucket${labelText({ ...labels, le })} ${count}`)
      })
      lines.push(`${family.name}_sum${labelText(labels)} ${numberText(histogram.sum)}`)
      lines.push(`${family.name}_count${labelText(labels)} ${counts.at(-1) ?? 0}`)
    }
    if (lines.length > 0) this.#lines.push(...this.#head(family, ''), ...lines)
  }

  /** The whole text. */
  end(): string {
    const end = this.#format === 'openMetrics' ? ['# EOF'] : []
    return `${[...this.#lines, ...end].join('\n')}\n`
  }

  #head({ name, type, unit, help }: Family, suffix: string): string[] {
    const text = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
    if (this.#format === 'text') {
      const full = `${name}${suffix}`
      return [`# HELP ${full} ${text}`, `# TYPE ${full} ${type === 'info' ? 'gauge' : type}`]
    }
    return [`# TYPE ${name} ${type}`, ...(unit ? [`# UNIT ${name} ${unit}`] : []), `# HELP ${name} ${text}`]
  }
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numberText(value: number): string {
  return Number.isFinite(value) ? String(value) : value > 0 ? '+Inf' : value < 0 ? '-Inf' : 'NaN'
}

/** OpenMetrics writes bounds as floating-point numbers: `1.0`. */
function decimal(bound: number): string {
  return Number.isInteger(bound) ? `${bound}.0` : String(bound)
}
