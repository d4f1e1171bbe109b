/** Which Node.js runs the tests and pgtls: `npm run test:node-versions` runs some of them on others. */
import { expect, test } from 'vitest';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { material } from '../support/material.ts';
import { connectPg } from '../support/pg-client.ts';
import { proxyForTest, runProgram } from '../support/running-proxy.ts';

test('these tests run on the Node.js that was asked for', () => {
  expect(process.version).toBe(process.env['PGTLS_TEST_NODE'] ?? process.version);
});

test('pgtls runs on the same, and has nothing to say on stderr', async () => {
  const { code, stdout, stderr } = await runProgram(['--version']);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout).toContain(`Node.js ${process.versions.node}`);
});

test('a session through it brings no deprecation or other warning of Node.js', async () => {
  const tls = await ListenerTls.create();
  // A pending deprecation is one that a later Node.js warns of unasked.
  const proxy = await proxyForTest(tls.config([{ backend: plainBackend(material().plain.port) }]), {
    environment: { NODE_OPTIONS: '--pending-deprecation' },
  });
  const client = await connectPg({ port: proxy.port(), ssl: tls.clientOptions });
  expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
  await client.end();
  await proxy.logged({ event: 'conn.close' });
  expect(proxy.output).not.toMatch(/Warning|DEP\d{4}/);
  tls.remove();
});
