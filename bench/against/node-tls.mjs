/** The proxy that one would write with node:tls: node-tls-proxy.mjs in a process of its own. */
import { fileURLToPath } from 'node:url';
import { freePort } from '../../dist/cli/demo/free-port.js';
import { Child } from '../lib/child.mjs';

const PROXY = fileURLToPath(new URL('node-tls-proxy.mjs', import.meta.url));

/** @type {import('../lib/contestants.mjs').Contestant} */
export const NODE_TLS = {
  name: 'node-tls',
  kind: 'relay',
  about:
    'a proxy on node:tls (bench/against/node-tls-proxy.mjs), one process, one thread for JavaScript',
  legs: ['plain', 'tls'],
  missing: () => null,
  version: () => process.version,
  start: async ({ place, leg, certificate, port: backend }) => {
    const port = await freePort();
    const options = { port, backend, leg, ...certificate };
    const child = new Child(place, process.execPath, [PROXY, JSON.stringify(options)]);
    await child.accepts(port, 'the node:tls proxy');
    return { pid: child.pid, port, clientTls: true, stop: () => child.stop() };
  },
};
