/** Which engine is chosen, and what is said of it. */
import { setEnvironmentData } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Engine } from '../../src/engine/contract.js'
import * as native from '../../src/engine/native/engine.js'
import { selectEngine } from '../../src/engine/select.js'
import { EngineError, OptionError } from '../../src/errors.js'

vi.mock('../../src/engine/native/engine.js')

const VARIABLE = 'NATIVE_WEBSOCKET_SERVER_ENGINE'
const WARNING = 'NATIVE_WEBSOCKET_SERVER_FALLBACK'
const nativeEngine: Engine = {
  name: 'native',
  createServer() {
    throw new Error('this test makes no server')
  },
  joinThreads() {
    throw new Error('this test joins no threads')
  },
}

/** What the environment says, and whether the addon loads. */
function given(variable: string | undefined, addon: 'built' | 'absent' | 'broken'): void {
  if (variable !== undefined) vi.stubEnv(VARIABLE, variable)
  else vi.stubEnv(VARIABLE, undefined)
  vi.mocked(native.loadNative).mockImplementation(() => {
    if (addon === 'built') return nativeEngine
    if (addon === 'absent') throw new EngineError('the native addon is not built: no compiler')
    throw new TypeError('a defect')
  })
}

/** Of this process; a test that chooses portable for want of native has to say so. */
const warned = vi.spyOn(process, 'emitWarning')

beforeEach(() => {
  warned.mockImplementation(() => {})
  setEnvironmentData(WARNING, undefined)
})
afterEach(() => {
  vi.unstubAllEnvs()
  vi.resetAllMocks()
})

describe('the engine is', () => {
  test.each([undefined, ''])(
    'native where it loads and neither option nor variable names an engine (variable: %j)',
    (variable) => {
      given(variable, 'built')
      expect(selectEngine(undefined)).toEqual({ engine: nativeEngine, reason: undefined })
    },
  )

  test('portable where native does not load, with the reason', () => {
    given(undefined, 'absent')
    const { engine, reason } = selectEngine(undefined)
    expect({ name: engine.name, reason }).toEqual({ name: 'portable', reason: 'the native addon is not built: no compiler' })
  })

  test('what the option says, even against the environment', () => {
    given('native', 'built')
    expect(selectEngine('portable')).toMatchObject({
      engine: { name: 'portable' },
      reason: "asked for by the option engine: 'portable'",
    })
    given('portable', 'built')
    expect(selectEngine('native')).toEqual({ engine: nativeEngine, reason: undefined })
  })

  test('what the environment says without an option', () => {
    given('portable', 'built')
    expect(selectEngine(undefined)).toMatchObject({ engine: { name: 'portable' }, reason: `asked for by ${VARIABLE}=portable` })
    expect(native.loadNative).not.toHaveBeenCalled()
  })
})

describe('a process warning', () => {
  test('comes with the first fallback to portable, and with no other', () => {
    given(undefined, 'absent')
    selectEngine(undefined)
    selectEngine(undefined)
    expect(warned).toHaveBeenCalledTimes(1)
    expect(warned).toHaveBeenCalledWith('the portable engine serves: the native addon is not built: no compiler', {
      type: 'EngineWarning',
      code: WARNING,
      detail: expect.stringContaining("engine: 'portable'"),
    })
  })

  test('does not come where portable was asked for, or native loads', () => {
    given('portable', 'absent')
    selectEngine(undefined)
    given(undefined, 'absent')
    selectEngine('portable')
    given(undefined, 'built')
    selectEngine(undefined)
    expect(warned).not.toHaveBeenCalled()
  })
})

describe('it is an error', () => {
  test('to ask for native, by option or environment, where it does not load', () => {
    given(undefined, 'absent')
    expect(() => selectEngine('native')).toThrow(EngineError)
    given('native', 'absent')
    expect(() => selectEngine(undefined)).toThrow('the native addon is not built: no compiler')
  })

  test('to name another engine in the environment, unless an option decides', () => {
    given('Native', 'built')
    expect(() => selectEngine(undefined)).toThrow(OptionError)
    expect(() => selectEngine(undefined)).toThrow(`${VARIABLE} must be 'native' or 'portable', got "Native"`)
    expect(selectEngine('native').engine).toBe(nativeEngine)
  })

  test('when the addon has a defect: that is not hidden behind portable', () => {
    given(undefined, 'broken')
    expect(() => selectEngine(undefined)).toThrow('a defect')
  })
})
