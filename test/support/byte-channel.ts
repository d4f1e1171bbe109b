/** A socket read by demand: exact byte counts, whole messages, its end; every wait has a deadline. */
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { WAIT_MILLIS, within } from './until.ts';
import type { Message } from './wire.ts';

/** How the peer ended the stream: in order (FIN or close_notify), or with an error. */
export type StreamEnd =
  | { readonly kind: 'end' }
  | { readonly kind: 'error'; readonly error: Error };

/** Reads and writes a duplex stream; errors of the stream are kept for {@link ByteChannel.ended}, never thrown on their own. */
export class ByteChannel<S extends Duplex = Duplex> {
  /** The stream itself. */
  readonly stream: S;
  #pending: Buffer = Buffer.alloc(0);
  #end: StreamEnd | null = null;
  #wake: (() => void) | null = null;

  /** Takes over reading from `stream`. */
  constructor(stream: S) {
    this.stream = stream;
    stream.on('data', this.#onData);
    stream.once('end', this.#onEnd);
    stream.once('close', this.#onEnd);
    stream.on('error', this.#onError);
  }

  /** Writes and waits until the stream took the bytes. */
  async write(bytes: Buffer): Promise<void> {
    await within(
      WAIT_MILLIS,
      'bytes are written',
      new Promise<void>((resolve, reject) => {
        this.stream.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    );
  }

  /** Exactly `count` bytes. */
  async read(count: number): Promise<Buffer> {
    await this.#until(() => this.#pending.length >= count, `${count} bytes arrive`);
    const bytes = this.#pending.subarray(0, count);
    this.#pending = this.#pending.subarray(count);
    return bytes;
  }

  /** The next typed message. */
  async message(): Promise<Message> {
    const head = await this.read(5);
    const body = await this.read(head.readInt32BE(1) - 4);
    return { type: head.toString('latin1', 0, 1), body };
  }

  /** Messages up to and including the first of `type`. */
  async messagesUntil(type: string): Promise<Message[]> {
    const messages: Message[] = [];
    for (;;) {
      const next = await this.message();
      messages.push(next);
      if (next.type === type) {
        return messages;
      }
    }
  }

  /** Everything until the stream ends, and how it ended. */
  async rest(millis: number = WAIT_MILLIS): Promise<{ bytes: Buffer; end: StreamEnd }> {
    await this.#until(() => this.#end !== null, 'the peer ends the stream', millis, false);
    const bytes = this.#pending;
    this.#pending = Buffer.alloc(0);
    return { bytes, end: this.#end ?? { kind: 'end' } };
  }

  /** How the stream ended; throws when bytes nobody read came before the end. */
  async ended(millis: number = WAIT_MILLIS): Promise<StreamEnd> {
    const { bytes, end } = await this.rest(millis);
    if (bytes.length > 0) {
      throw new Error(`unread before the end: ${bytes.toString('latin1')}`);
    }
    return end;
  }

  /** Hands the stream over to another reader (TLS); fails when bytes are left unread here. */
  release(): S {
    this.stream.off('data', this.#onData);
    this.stream.off('end', this.#onEnd);
    this.stream.off('close', this.#onEnd);
    if (this.#pending.length > 0) {
      throw new Error(`unread when handed over: ${this.#pending.toString('hex')}`);
    }
    this.stream.pause();
    return this.stream;
  }

  /** Ends the sending direction and returns once that is done. */
  async finishWriting(): Promise<void> {
    this.stream.end();
    if (!this.stream.writableFinished) {
      await once(this.stream, 'finish');
    }
  }

  /** Destroys the stream. */
  destroy(): void {
    this.stream.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#wake?.();
  };

  readonly #onEnd = (): void => {
    this.#end ??= { kind: 'end' };
    this.#wake?.();
  };

  readonly #onError = (error: Error): void => {
    this.#end ??= { kind: 'error', error };
    this.#wake?.();
  };

  async #until(
    reached: () => boolean,
    what: string,
    millis: number = WAIT_MILLIS,
    failAtEnd = true,
  ): Promise<void> {
    const done = new Promise<void>((resolve, reject) => {
      const check = () => {
        if (reached()) {
          resolve();
        } else if (failAtEnd && this.#end !== null) {
          reject(new Error(`the stream ended before ${what}: ${describeEnd(this.#end)}`));
        }
      };
      this.#wake = check;
      check();
    });
    await within(millis, what, done).finally(() => {
      this.#wake = null;
    });
  }
}

function describeEnd(end: StreamEnd): string {
  return end.kind === 'end' ? 'in order' : String(end.error);
}
