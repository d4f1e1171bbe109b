/**
 * stunnel with protocol = pgsql. For TLS on both legs two of its services stand one behind the other, in one process. Without
 * `syslog = no` it would write every line to the console as well where no syslog daemon runs, which costs more than TLS.
 */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../dist/cli/demo/free-port.js';
import { Child } from '../lib/child.mjs';

const PROGRAMS = ['stunnel', '/usr/bin/stunnel', 'stunnel4'];

/** @returns {{ program: string, version: string } | null} */
function find() {
  for (const program of PROGRAMS) {
    const { stderr, error } = spawnSync(program, ['-version'], { encoding: 'utf8' });
    const version = /stunnel (\d\S*)/.exec(error === undefined ? stderr : '')?.[1];
    if (version !== undefined) {
      return { program, version };
    }
  }
  return null;
}

/** @type {import('../lib/contestants.mjs').Contestant} */
export const STUNNEL = {
  name: 'stunnel',
  kind: 'relay',
  about: 'stunnel, protocol = pgsql, a thread per session; with TLS on both legs it relays twice',
  legs: ['plain', 'tls'],
  missing: () => (find() === null ? 'stunnel is not installed' : null),
  version: () => find()?.version ?? null,
  start: async ({ directory, place, leg, certificate, port: backend }) => {
    const found = find();
    if (found === null) {
      throw new Error('stunnel is not installed');
    }
    const [port, between] = [await freePort(), await freePort()];
    const file = join(directory, 'stunnel.conf');
    writeFileSync(
      file,
      `foreground = quiet
syslog = no
pid =
output = ${join(directory, 'stunnel.log')}
socket = a:SO_REUSEADDR=1
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[clients]
accept = 127.0.0.1:${port}
connect = 127.0.0.1:${leg === 'tls' ? between : backend}
protocol = pgsql
cert = ${certificate.certFile}
key = ${certificate.keyFile}
libwrap = no
${
  leg === 'tls'
    ? `[backends]
client = yes
accept = 127.0.0.1:${between}
connect = 127.0.0.1:${backend}
protocol = pgsql
libwrap = no
`
    : ''
}`,
    );
    const child = new Child(place, found.program, [file]);
    await child.accepts(port, 'stunnel');
    return { pid: child.pid, port, clientTls: true, stop: () => child.stop() };
  },
};
