// Plain JavaScript, because `embedded-worker.js` imports it without the loader that runs the .ts files.
import { createServer } from 'node:net';

const SSL_REQUEST = 80_877_103;
const CANCEL_REQUEST = 80_877_102;
const SYNC = Buffer.from([0x53, 0, 0, 0, 4]);

/** The end of a reply: the server is ready for a query, and in no transaction. */
const IDLE = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);

/**
 * Serves PGlite to many clients, by PostgreSQL's own protocol. All of them share one session of PostgreSQL. So a client has
 * the session to itself from the first message of a query to the last of its reply, and from BEGIN to COMMIT. Otherwise two
 * clients that send a query with parameters at the same time would get errors.
 */
export function createEmbeddedServer(db) {
  const turns = new Turns();
  return createServer((socket) => new Client(db, turns, socket.setNoDelay()));
}

/** Gives the session to one client at a time, in the order of their queries. */
class Turns {
  #last = Promise.resolve();

  /** Resolves with a function that ends the turn. */
  async take() {
    const before = this.#last;
    let end;
    this.#last = new Promise((resolve) => {
      end = resolve;
    });
    await before;
    return end;
  }
}

class Client {
  #db;
  #turns;
  #socket;
  #received = Buffer.alloc(0);
  #isStarted = false;
  #endTurn;
  #work = Promise.resolve();

  constructor(db, turns, socket) {
    this.#db = db;
    this.#turns = turns;
    this.#socket = socket;
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#later(() => (this.#isStarted ? this.#runMessages() : this.#start()));
    });
    // The close that follows ends the turn.
    socket.on('error', () => {});
    socket.on('close', () => this.#later(() => this.#leave()));
  }

  /** Messages of one client are handled one after the other. */
  #later(task) {
    this.#work = this.#work.then(task).catch((error) => this.#socket.destroy(error));
  }

  /** The first messages have a length and a code, and no type. */
  async #start() {
    if (this.#received.length < 8 || this.#received.length < this.#received.readInt32BE(0)) return;
    const message = this.#cut(this.#received.readInt32BE(0));
    const code = message.readInt32BE(4);
    if (code === CANCEL_REQUEST) this.#socket.end();
    else if (code === SSL_REQUEST) this.#socket.write('N');
    else {
      this.#isStarted = true;
      await this.#run(message);
    }
  }

  /** Runs all complete messages at once: a query with parameters has five. */
  async #runMessages() {
    let end = 0;
    let isLeaving = false;
    while (!isLeaving && this.#received.length >= end + 5) {
      const next = end + 1 + this.#received.readInt32BE(end + 1);
      if (this.#received.length < next) break;
      // PGlite would end for all clients.
      isLeaving = this.#received[end] === 0x58;
      if (!isLeaving) end = next;
    }
    if (end > 0) await this.#run(this.#cut(end));
    if (isLeaving) this.#socket.end();
  }

  #cut(length) {
    const bytes = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return bytes;
  }

  async #run(messages) {
    this.#endTurn ??= await this.#turns.take();
    let last = Buffer.alloc(0);
    const onRawData = (bytes) => {
      last = Buffer.from(bytes);
      if (this.#socket.writable) this.#socket.write(last);
    };
    await this.#db.execProtocolRawStream(new Uint8Array(messages), { onRawData });
    if (last.subarray(-IDLE.length).equals(IDLE)) this.#yield();
  }

  #yield() {
    this.#endTurn?.();
    this.#endTurn = undefined;
  }

  /** The client may have gone in the middle of a query or a transaction. */
  async #leave() {
    if (!this.#endTurn) return;
    await this.#run(SYNC);
    if (this.#endTurn) await this.#db.exec('ROLLBACK');
    this.#yield();
  }
}
