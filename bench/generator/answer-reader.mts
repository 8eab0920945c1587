// The minimum of HTTP/1.1 for the generator: the end of a response, and its status. One response at a time.

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const END_OF_CHUNKS = Buffer.from('0\r\n\r\n');

export class AnswerReader {
  #head: Buffer = Buffer.alloc(0);
  /** Remaining bytes of the body; -1: chunked; `undefined`: the head is incomplete. */
  #left: number | undefined;
  #status = 0;
  #end: Buffer = Buffer.alloc(0);

  /** Reads a chunk. Returns the status when the response is complete. */
  read(chunk: Buffer): number | undefined {
    let body = chunk;
    if (this.#left === undefined) {
      const all = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      const end = all.indexOf(END_OF_HEAD);
      if (end < 0) {
        this.#head = all;
        return undefined;
      }
      this.#readHead(all.toString('latin1', 0, end));
      body = all.subarray(end + END_OF_HEAD.length);
    }
    return this.#isOver(body) ? this.#finish() : undefined;
  }

  #readHead(head: string): void {
    this.#status = Number(head.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(head);
    if (length) this.#left = Number(length[1]);
    else this.#left = /\r\ntransfer-encoding: *chunked/i.test(head) ? -1 : 0;
    if (this.#status === 304 || this.#status === 204) this.#left = 0;
  }

  #isOver(body: Buffer): boolean {
    if (this.#left !== -1) {
      this.#left = (this.#left as number) - body.length;
      return this.#left <= 0;
    }
    // The end of a chunked response can only be in the last bytes, because nothing follows it on this
    // connection.
    const tail = body.length >= END_OF_CHUNKS.length ? body : Buffer.concat([this.#end, body]);
    this.#end = Buffer.from(tail.subarray(-END_OF_CHUNKS.length));
    return this.#end.equals(END_OF_CHUNKS);
  }

  #finish(): number {
    this.#head = Buffer.alloc(0);
    this.#end = Buffer.alloc(0);
    this.#left = undefined;
    return this.#status;
  }
}
