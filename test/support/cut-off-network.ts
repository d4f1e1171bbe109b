/**
 * A network of two machines with a cable between them that can be pulled: two network namespaces and a pair of virtual
 * interfaces, which nobody else sees. Takes root.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { welcome } from './fake-backend.ts';

const FAR_ADDRESS = '192.0.2.2';
const PORT = 5432;

/** Lets everybody in and then listens, without an answer. */
const BACKEND = `
const { createServer } = require('node:net');
const welcome = Buffer.from('${welcome().toString('hex')}', 'hex');
createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', () => socket.write(welcome));
}).listen(${PORT}, () => console.log('listening'));
`;

/** Whether this machine lets us make one. */
export const CAN_CUT_OFF: boolean =
  spawnSync('unshare', ['-n', 'ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far'])
    .status === 0 && spawnSync('nsenter', ['--version']).status === 0;

/** The near machine is for pgtls, on the far one a fake backend listens. */
export class CutOffNetwork {
  /** Of the backend. */
  readonly address = `${FAR_ADDRESS}:${PORT}`;
  /** A process of the near machine. */
  readonly near: number;
  readonly #far: number;

  private constructor(near: number, far: number) {
    this.near = near;
    this.#far = far;
  }

  /** It ends with the running test. */
  static async create(): Promise<CutOffNetwork> {
    const hold = 'process.stdin.resume(); console.log("here")';
    const [near, far] = await Promise.all([machine(hold), machine(BACKEND)]);
    const network = new CutOffNetwork(near, far);
    network.#ip(near, 'link add near type veth peer name far');
    network.#ip(near, `link set far netns ${far}`);
    network.#ip(near, 'addr add 192.0.2.1/24 dev near');
    network.#ip(far, `addr add ${FAR_ADDRESS}/24 dev far`);
    for (const [pid, name] of [
      [near, 'near'],
      [far, 'far'],
    ] as const) {
      network.#ip(pid, `link set ${name} up`);
    }
    return network;
  }

  /** From now on nothing gets through, and nobody is told. */
  pullCable(): void {
    this.#ip(this.#far, 'link set far down');
  }

  #ip(pid: number, command: string): void {
    execFileSync('nsenter', ['-t', String(pid), '-n', 'ip', ...command.split(' ')]);
  }
}

/** Runs a program on a machine of its own; returns once it has said something. */
async function machine(program: string): Promise<number> {
  const child: ChildProcess = spawn('unshare', ['-n', process.execPath, '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  if (child.stdout !== null) {
    await once(child.stdout, 'data');
  }
  return child.pid ?? -1;
}
