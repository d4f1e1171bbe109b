/** TCP ports on 127.0.0.1 that nobody listens on at the moment of asking. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** An ephemeral port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const port = await tryPort(0);
  if (port === null) {
    throw new Error('no TCP port is free on 127.0.0.1');
  }
  return port;
}

/** The port itself when it could be bound just now, else null; 0 asks for any. */
export async function tryPort(port: number): Promise<number | null> {
  const server = createServer();
  try {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  } catch {
    return null;
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
