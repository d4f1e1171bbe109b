/** A service manager that only listens: a datagram socket, which Node.js cannot open by itself, read by Python. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { until } from './until.ts';

const SCRIPT = `
import json, socket, sys
name = sys.argv[1]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("\\0" + name[1:] if name.startswith("@") else name)
print(json.dumps("listening"), flush=True)
while True:
    print(json.dumps(listener.recv(4096).decode()), flush=True)
`;

/** The messages it was sent, each as its lines. */
export class NotifySocket {
  readonly messages: string[][] = [];
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  /** Listens at a path, or at an abstract name; until the test ends. */
  static async open(kind: 'path' | 'abstract'): Promise<NotifySocket> {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-notify-'));
    const path = join(directory, 'notify');
    const socket = new NotifySocket(kind === 'path' ? path : `@${path}`);
    const child = spawn('python3', ['-c', SCRIPT, socket.name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => {
      child.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      socket.messages.push(String(JSON.parse(line)).split('\n'));
    });
    await until('the socket is there', () => socket.messages.length > 0);
    socket.messages.length = 0;
    return socket;
  }

  /** The first assignment of each message, without signs of life. */
  get firsts(): string[] {
    const firsts = this.messages.map(([first = '']) => first);
    return firsts.filter((first) => first !== 'WATCHDOG=1');
  }
}
