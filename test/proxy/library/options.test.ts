/** What createProxy and its methods are called with: what would be ignored, or asked never, is refused by its code and its name. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import {
  type CreateProxyOptions,
  createProxy,
  PgtlsError,
  type PgtlsLogger,
  type PgtlsProxy,
  type ProxyHooks,
  type Refusal,
  refuse,
} from '../../../src/index.ts';
import { openTcp, readError } from '../../support/raw-client.ts';
import { startupMessage } from '../../support/wire.ts';

const LISTENER = { bind_address: '127.0.0.1:0', sslmode: 'disable' } as const;
const BACKEND = { address: '127.0.0.1:1', sslmode: 'disable' } as const;
const CONFIG = { proxy: [{ name: 'a', listener: LISTENER, backend: BACKEND }] };
const METHODS = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

function proxyFor(options?: CreateProxyOptions): PgtlsProxy {
  const proxy = createProxy(CONFIG, options);
  onTestFinished(() => proxy.close());
  return proxy;
}

/** What `call` throws, or its promise rejects with. */
async function refusalOf(call: () => unknown): Promise<{ code: string; message: string }> {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => null,
      (reason: unknown) => reason,
    );
  expect(error).toBeInstanceOf(PgtlsError);
  return error as PgtlsError;
}

class Never {
  readonly #reason = 'never';

  onClientCertificate(): Refusal {
    return refuse(this.#reason);
  }
}

describe('hooks are asked', () => {
  it.each<[string, () => ProxyHooks]>([
    ['as methods of a class', () => new Never()],
    ['as methods of its parent', () => new (class extends Never {})()],
    ['from a prototype', () => Object.create(Object.assign(Object.create(null), hooksOfObject()))],
    ['as properties that are not enumerated', () => hidden(hooksOfObject())],
    ['as properties of an object', hooksOfObject],
  ])('%s, with their object as this', async (_, hooks) => {
    const { logger, errors } = errorsOfLog();
    await expectRefusal(proxyFor({ hooks: hooks(), logger }));
    await vi.waitFor(() => expect(errors()).toContain('never'), { timeout: 30_000 });
  });

  it('as they were when the proxy was made', async () => {
    const hooks = { ...hooksOfObject() };
    const proxy = proxyFor({ hooks });
    Reflect.deleteProperty(hooks, 'onClientCertificate');
    await expectRefusal(proxy);
  });
});

/** Listens, and a client is refused. */
async function expectRefusal(proxy: PgtlsProxy): Promise<void> {
  const [bound] = await proxy.listen();
  const channel = await openTcp(Number(bound?.address.split(':').at(-1)));
  onTestFinished(() => void channel.destroy());
  await channel.write(startupMessage({ user: 'app' }));
  expect(await readError(channel)).toMatchObject({ C: '28000' });
}

/** A logger, and all that it got as `error`. */
function errorsOfLog(): { logger: PgtlsLogger; errors: () => string } {
  const lines: string[] = [];
  const note = (fields: object) => void lines.push(String(Reflect.get(fields, 'error')));
  const logger = { debug: note, info: note, warn: note, error: note };
  return { logger, errors: () => lines.join() };
}

function hooksOfObject(): ProxyHooks {
  return {
    onClientCertificate(this: unknown) {
      return refuse('onClientCertificate' in Object(this) ? 'never' : 'with another this');
    },
  };
}

function hidden(hooks: ProxyHooks): ProxyHooks {
  return Object.defineProperty({}, 'onClientCertificate', { value: hooks.onClientCertificate });
}

describe('hooks that would never be asked are refused:', () => {
  class Misspelt {
    onClientCertficate(): Refusal {
      return refuse('never');
    }
  }

  it.each<[string, unknown, string]>([
    ['a list', [], 'options.hooks: expected an object'],
    ['a function', () => {}, 'options.hooks: expected an object'],
    ['true', true, 'options.hooks: expected an object'],
    ['null', null, 'options.hooks: expected an object'],
    ['a name that is none', { onRoute: () => null }, 'no hook "onRoute"; did you mean "route"?'],
    ['a misspelt method', new Misspelt(), 'did you mean "onClientCertificate"?'],
    ['a method of a parent', new (class extends Misspelt {})(), 'no hook "onClientCertficate"'],
    ['a name far from all', { whatever: 1 }, 'expected onClientHello, onClientCertificate, '],
    ['an object for another purpose', new Map(), 'options.hooks: there is no hook "get"'],
    ['no function', { route: 'b' }, 'options.hooks.route: expected a function, got "b"'],
    ['null for a function', { route: null }, 'options.hooks.route: expected a function, got null'],
  ])('%s', async (_, hooks, words) => {
    const error = await refusalOf(() => createProxy(CONFIG, { hooks: hooks as ProxyHooks }));
    expect(error).toMatchObject({
      code: 'PGTLS_ARGUMENTS_INVALID',
      message: expect.stringContaining(words),
    });
  });
});

describe('options that cannot be used are refused:', () => {
  it.each<[string, unknown, string]>([
    ['null', null, 'options: expected an object with any of hooks, '],
    ['a text', 'pgtls.toml', 'environment, directory, got "pgtls.toml"'],
    ['a list', [], 'environment, directory, got a list'],
    ['a misspelt option', { hook: {} }, 'no option "hook"; did you mean "hooks"?'],
    ['another one', { loger: METHODS }, 'no option "loger"; did you mean "logger"?'],
    ['one far from all', { x: 1 }, 'expected hooks, logger, environment, directory'],
    ['a number as directory', { directory: 5 }, 'options.directory: expected a path, got 5'],
    ['a text as environment', { environment: 'x' }, 'options.environment: expected an object'],
    [
      'a number in environment',
      { environment: { PORT: 5432 } },
      'options.environment.PORT: expected a string, got a number',
    ],
    ['a logger without methods', { logger: { info: () => {} } }, 'options.logger: has no method'],
    ['true as logger', { logger: true }, 'options.logger: expected an object'],
    ['null as logger', { logger: null }, 'options.logger: expected an object'],
    [
      'a logger that cannot be asked',
      { logger: { ...METHODS, isLevelEnabled: true } },
      'options.logger.isLevelEnabled: expected a function, got true',
    ],
  ])('%s', async (_, options, words) => {
    const error = await refusalOf(() => createProxy(CONFIG, options as CreateProxyOptions));
    expect(error).toMatchObject({
      code: 'PGTLS_ARGUMENTS_INVALID',
      message: expect.stringContaining(words),
    });
  });

  it('but those that are undefined count as absent', async () => {
    const absent = { hooks: undefined, logger: undefined, environment: undefined };
    await proxyFor(undefined).listen();
    await proxyFor({ ...absent, directory: undefined }).listen();
    await proxyFor({ hooks: { route: undefined }, environment: { UNSET: undefined } }).listen();
  });
});

describe('a drain that cannot be meant is refused, and nothing ends:', () => {
  it.each<[string, unknown, string]>([
    ['null', null, 'options: expected an object with any of timeout, got null'],
    ['a number', 5, 'options: expected an object with any of timeout, got 5'],
    ['a misspelt option', { timeuot: '5s' }, 'no option "timeuot"; did you mean "timeout"?'],
    ['an object as timeout', { timeout: {} }, 'options.timeout: expected a duration'],
    ['one without a text', { timeout: Object.create(null) }, 'options.timeout: expected'],
    ['null as timeout', { timeout: null }, 'options.timeout: expected a duration'],
  ])('%s', async (_, options, words) => {
    const proxy = proxyFor();
    const error = await refusalOf(() => proxy.drain(options as never));
    expect(error).toMatchObject({
      code: 'PGTLS_ARGUMENTS_INVALID',
      message: expect.stringContaining(words),
    });
    expect(proxy.stats().phase).toBe('idle');
  });
});

describe('an event that there is not is refused', () => {
  it.each<[unknown]>([[Symbol('close')], [null], [{}]])('whatever it is', async (event) => {
    const error = await refusalOf(() => proxyFor().on(event as 'drain', () => {}));
    expect(error).toMatchObject({ code: 'PGTLS_ARGUMENTS_INVALID' });
  });
});
