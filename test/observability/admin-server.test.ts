import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import {
  type AdminEndpoint,
  type AdminSecrets,
  AdminServer,
} from '../../src/observability/admin-server.ts';
import { askAdmin } from '../support/admin-client.ts';
import { WAIT_MILLIS, within } from '../support/until.ts';

const OPEN: AdminEndpoint = {
  isProtected: false,
  answer: () => ({ status: 200, contentType: 'text/plain', body: 'open\n' }),
};

async function started(
  endpoints: Record<string, AdminEndpoint> = { '/open': OPEN },
  secrets: AdminSecrets = { identity: null, token: null },
): Promise<{ port: number; failures: unknown[]; server: AdminServer }> {
  const failures: unknown[] = [];
  const server = new AdminServer({
    host: '127.0.0.1',
    port: 0,
    endpoints,
    secrets,
    failed: (path, error) => failures.push([path, error]),
  });
  await server.listen();
  onTestFinished(() => server.close());
  return { port: Number(/:(\d+)$/.exec(server.address)?.[1]), failures, server };
}

/** What the server says to these bytes until it closes the connection. */
async function said(port: number, bytes: string): Promise<string> {
  const socket: Socket = connect(port, '127.0.0.1');
  let text = '';
  socket.setEncoding('latin1').on('data', (chunk) => {
    text += chunk;
  });
  socket.on('error', () => undefined);
  socket.write(bytes);
  await within(WAIT_MILLIS, 'the connection closes', once(socket, 'close'));
  return text;
}

it('answers GET, and HEAD without the body', async () => {
  const { port } = await started();
  const get = await askAdmin(port, '/open?any=thing');
  expect(get).toMatchObject({ status: 200, body: 'open\n' });
  expect(get.headers).toMatchObject({ 'cache-control': 'no-store', 'content-length': '5' });
  const head = await askAdmin(port, '/open', { method: 'HEAD' });
  expect(head).toMatchObject({ status: 200, body: '' });
  expect(head.headers['content-length']).toBe('5');
});

it('refuses other methods and other paths', async () => {
  const { port } = await started();
  const post = await askAdmin(port, '/open', { method: 'POST' });
  expect(post).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } });
  for (const path of ['/', '/opened', '/constructor', '//open']) {
    expect(await askAdmin(port, path)).toMatchObject({ status: 404 });
  }
});

it('wants the token for what is protected, in any case of the scheme', async () => {
  const protectedOne = { ...OPEN, isProtected: true };
  const token = 'a-token-of-sixteen';
  const { port, server } = await started(
    { '/open': OPEN, '/protected': protectedOne },
    { identity: null, token },
  );
  expect((await askAdmin(port, '/open')).status).toBe(200);
  const without = await askAdmin(port, '/protected');
  expect(without).toMatchObject({
    status: 401,
    headers: { 'www-authenticate': 'Bearer realm="pgtls"' },
  });
  expect((await askAdmin(port, '/protected', { token: 'a-token-of-sixteem' })).status).toBe(401);
  expect((await askAdmin(port, '/protected', { token })).status).toBe(200);
  const request = `GET /protected HTTP/1.0\r\nAuthorization: bearer ${token}\r\n\r\n`;
  expect(await said(port, request)).toMatch(/^HTTP\/1\.1 200 /);
  server.renew({ identity: null, token: 'another-of-sixteen' });
  expect((await askAdmin(port, '/protected', { token })).status).toBe(401);
});

it('says no more than that an endpoint failed, and goes on', async () => {
  const broken = {
    isProtected: false,
    answer: () => {
      throw new Error('secret');
    },
  };
  const { port, failures } = await started({ '/open': OPEN, '/broken': broken });
  const { status, body } = await askAdmin(port, '/broken');
  expect([status, body]).toEqual([500, 'this failed; the log says why\n']);
  expect(failures).toEqual([['/broken', expect.objectContaining({ message: 'secret' })]]);
  expect((await askAdmin(port, '/open')).status).toBe(200);
});

it('reads no long headers, no nonsense, and not for long', async () => {
  const { port } = await started();
  const long = `GET /open HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(9_000)}\r\n\r\n`;
  expect(await said(port, long)).toMatch(/^HTTP\/1\.1 431 /);
  expect(await said(port, '\x16\x03\x01\x02')).toMatch(/^HTTP\/1\.1 400 /);
  const begun = performance.now();
  expect(await said(port, 'GET /open HTTP/1.1\r\nHost: x\r\n')).toMatch(/^(HTTP\/1\.1 408 |$)/);
  expect(performance.now() - begun).toBeGreaterThan(1_000);
});

it('ends its connections when it is closed, once or twice', async () => {
  const { port, server } = await started();
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  socket.write('GET /open HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'data');
  await Promise.all([once(socket, 'close'), server.close(), server.close()]);
});

it('tells the reason why it cannot listen', async () => {
  const { port } = await started();
  const other = new AdminServer({
    host: '127.0.0.1',
    port,
    endpoints: {},
    secrets: { identity: null, token: null },
    failed: () => undefined,
  });
  await expect(other.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });
  await other.close();
});

it('shows IPv6 addresses in brackets', async () => {
  const server = new AdminServer({
    host: '::1',
    port: 0,
    endpoints: {},
    secrets: { identity: null, token: null },
    failed: () => undefined,
  });
  await server.listen();
  onTestFinished(() => server.close());
  expect(server.address).toMatch(/^\[::1\]:\d+$/);
});
