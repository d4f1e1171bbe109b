/** A port that stays as it was found: for backends that are down, and for listeners that must not have been bound. */
import { readFileSync } from 'node:fs';
import { tryPort } from '../../src/cli/demo/free-port.ts';

const LOWEST = 10_000;
/** Where the kernel says nothing; Linux' default, and below that of others. */
const EPHEMERAL_LOWEST = 32_768;
const ATTEMPTS = 50;

/**
 * A TCP port of 127.0.0.1 that nobody listens on, below those which the kernel gives to connections and to listeners on
 * port 0: an ephemeral one may belong to another test's connection a moment later.
 */
export async function quietPort(): Promise<number> {
  const above = Math.max(ephemeralLowest(), LOWEST + 1);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const port = LOWEST + Math.floor(Math.random() * (above - LOWEST));
    if ((await tryPort(port)) !== null) {
      return port;
    }
  }
  throw new Error(`no port from ${LOWEST} to ${above - 1} could be bound on 127.0.0.1`);
}

function ephemeralLowest(): number {
  try {
    const range = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
    return Number.parseInt(range, 10);
  } catch {
    return EPHEMERAL_LOWEST;
  }
}
