/** What hooks are asked and what becomes of what they return. */
import { describe, expect, test } from 'vitest';
import {
  answerOf,
  hookSetOf,
  isQuestion,
  type ProxyHooks,
  type QuestionEvent,
  refuse,
} from '../../src/proxy/hooks.ts';

const ORIGIN = { questionId: 7, connectionId: 3, routeId: 1 };
const CERTIFICATE = {
  subject: 'CN=app',
  issuer: 'CN=ca',
  sans: ['app.example'],
  notBeforeSeconds: 1_000,
  notAfterSeconds: 2_000,
  sha256: 'ab',
  derHex: '3003',
};
const HELLO: QuestionEvent = {
  type: 'client-hello',
  ...ORIGIN,
  clientAddr: '192.0.2.1:5',
  serverName: 'a.example',
  alpn: ['postgresql'],
};
const CLIENT: QuestionEvent = {
  type: 'client-certificate',
  ...ORIGIN,
  clientAddr: '192.0.2.1:5',
  serverName: null,
  certificate: CERTIFICATE,
};
const BACKEND: QuestionEvent = {
  type: 'backend-certificate',
  ...ORIGIN,
  backendAddr: '192.0.2.2:5432',
  certificate: CERTIFICATE,
};
const ROUTE: QuestionEvent = {
  type: 'route',
  ...ORIGIN,
  clientAddr: '192.0.2.1:5',
  serverName: null,
  alpn: null,
  certificate: null,
  user: 'alice',
  database: 'orders',
};
const NAMES = ['other', 'orders'];

const answer = (hooks: ProxyHooks, event: QuestionEvent) => answerOf(hooks, event, NAMES);

test('only events with a question id wait for an answer', () => {
  expect(isQuestion(HELLO)).toBe(true);
  expect(isQuestion({ type: 'worker-restarted', worker: 0, reason: '' })).toBe(false);
});

test('only questions with a hook are asked', () => {
  expect(hookSetOf({})).toEqual({
    clientHello: false,
    clientCertificate: false,
    backendCertificate: false,
    route: false,
  });
  expect(hookSetOf({ route: () => null, onClientHello: () => null })).toEqual({
    clientHello: true,
    clientCertificate: false,
    backendCertificate: false,
    route: true,
  });
});

describe('each hook is told what is known', () => {
  test('onClientHello', async () => {
    const asked: unknown[] = [];
    await answer({ onClientHello: (hello) => void asked.push(hello) }, HELLO);
    expect(asked).toEqual([
      {
        route: 'orders',
        connectionId: 3,
        clientAddr: '192.0.2.1:5',
        serverName: 'a.example',
        alpn: ['postgresql'],
      },
    ]);
  });

  test('onClientCertificate', async () => {
    const asked: unknown[] = [];
    await answer({ onClientCertificate: (client) => void asked.push(client) }, CLIENT);
    expect(asked).toEqual([
      {
        route: 'orders',
        connectionId: 3,
        clientAddr: '192.0.2.1:5',
        serverName: null,
        certificate: {
          subject: 'CN=app',
          issuer: 'CN=ca',
          sans: ['app.example'],
          notBefore: new Date(1_000_000),
          notAfter: new Date(2_000_000),
          sha256: 'ab',
          raw: Buffer.from([0x30, 0x03]),
        },
      },
    ]);
  });

  test('onBackendCertificate', async () => {
    const asked: unknown[] = [];
    await answer({ onBackendCertificate: (backend) => void asked.push(backend) }, BACKEND);
    expect(asked).toMatchObject([{ backendAddr: '192.0.2.2:5432', certificate: { sha256: 'ab' } }]);
  });

  test('route', async () => {
    const asked: unknown[] = [];
    await answer({ route: (session) => void asked.push(session) }, ROUTE);
    expect(asked).toMatchObject([{ user: 'alice', database: 'orders', certificate: null }]);
  });
});

describe('what a hook returns becomes the answer', () => {
  test.each([[undefined], [null]])('%s goes on as configured', async (nothing) => {
    expect(await answer({ onClientHello: () => nothing }, HELLO)).toEqual({ type: 'accept' });
  });

  test('a refusal carries its reason', async () => {
    const hooks = { onClientCertificate: async () => refuse('unknown laptop') };
    expect(await answer(hooks, CLIENT)).toEqual({ type: 'refuse', reason: 'unknown laptop' });
  });

  test('a choice keeps what it leaves out', async () => {
    const hooks = { onClientHello: () => ({ serverName: 'b.example' }) };
    const chosen = { type: 'identity', serverName: 'b.example', alpn: null };
    expect(await answer(hooks, HELLO)).toEqual(chosen);
  });

  test('a choice that leaves all out goes on as configured', async () => {
    const asConfigured = { type: 'identity', serverName: null, alpn: null };
    expect(await answer({ onClientHello: () => ({}) }, HELLO)).toEqual(asConfigured);
    const hooks = { onClientHello: () => Object.create(null) };
    expect(await answer(hooks, HELLO)).toEqual(asConfigured);
  });

  test('a name is that of a backend', async () => {
    const hooks = { route: () => Promise.resolve('b') };
    expect(await answer(hooks, ROUTE)).toEqual({ type: 'backend', name: 'b' });
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('no database');
      },
    ],
    ['rejects', () => Promise.reject(new Error('no database'))],
  ])('a hook that %s refuses', async (_how, route) => {
    expect(await answer({ route }, ROUTE)).toEqual({
      type: 'refuse',
      reason: 'it failed: no database',
    });
  });

  test('without a hook a question goes on as configured', async () => {
    expect(await answer({}, BACKEND)).toEqual({ type: 'accept' });
  });

  test.each<[string, ProxyHooks, QuestionEvent]>([
    ['a text of a certificate hook', { onClientCertificate: () => 'denied' as never }, CLIENT],
    ['a list of numbers as protocols', { onClientHello: () => ({ alpn: [1] as never }) }, HELLO],
    ['no protocol name at all', { onClientHello: () => ({ alpn: [''] }) }, HELLO],
    ['an error', { onClientHello: () => new Error('denied') as never }, HELLO],
    ['a refusal of its own', { onClientHello: () => ({ refuse: 'x' }) as never }, HELLO],
    ['a list', { onClientHello: () => [] as never }, HELLO],
    ['a misspelt name', { onClientHello: () => ({ servername: 'other' }) as never }, HELLO],
    [
      'a misspelt name beside a right one',
      { onClientHello: () => ({ alpn: ['postgresql'], servername: 'other' }) as never },
      HELLO,
    ],
    ['an object of a class', { onClientHello: () => new (class Choice {})() }, HELLO],
    [
      'a symbol beside a name',
      { onClientHello: () => ({ [Symbol('refuse')]: 1 }) as never },
      HELLO,
    ],
    ['a list of protocols with gaps', { onClientHello: () => ({ alpn: new Array(2) }) }, HELLO],
    ['a number as name', { onClientHello: () => ({ serverName: 7 as never }) }, HELLO],
    ['true', { onClientHello: () => true as never }, HELLO],
    ['a number', { route: () => 7 as never }, ROUTE],
    ['a choice of an identity for a route', { route: () => ({ serverName: 'b' }) as never }, ROUTE],
  ])('%s refuses', async (_what, hooks, event) => {
    expect(await answer(hooks, event)).toEqual({
      type: 'refuse',
      reason: 'it returned what has no meaning here',
    });
  });

  test('a refusal of another copy of the package is one', async () => {
    const refusal = { [Symbol.for('pgtls.refusal')]: 'no' } as never;
    const hooks = { onClientCertificate: () => refusal };
    expect(await answer(hooks, CLIENT)).toEqual({ type: 'refuse', reason: 'no' });
  });

  test.each<[string, () => never]>([
    ['a refusal by an error', () => refuse(new Error('boom') as never) as never],
    ['a refusal without a reason', () => (refuse as () => never)()],
    [
      'what has no text',
      () => {
        throw Object.create(null);
      },
    ],
  ])('%s refuses and throws nothing', async (_what, onClientHello) => {
    expect(await answer({ onClientHello }, HELLO)).toMatchObject({
      type: 'refuse',
      reason: expect.any(String),
    });
  });
});
