import { hash } from 'node:crypto';
import { joinPath } from '../../options/format-value.js';
import {
  binaryNameOf,
  bytesOfBinary,
  describeKind,
  hasSymbols,
  kindOf,
  MAX_DEPTH,
  ValueProblem,
} from './value-kind.js';

/** Longest encoded arguments. Characters. */
const LONGEST_KEY = 1024 ** 2;

/** A longer key is kept as a hash. Characters. */
const LONGEST_PLAIN_KEY = 512;

/**
 * Encodes values so that two lists have the same text only if they are deeply equal. Every part begins with a letter for
 * its type, and has a length or an end, so no text can be read in two ways. Plain objects are sorted by key; the order of
 * a Map or a Set counts. `-0`, `NaN`, `undefined` and trailing `undefined` are distinct.
 *
 * @throws ValueProblem for cycles, functions, symbols, proxies and class instances.
 */
export function encodeKey(values: readonly unknown[]): string {
  const encoder = new KeyEncoder();
  let key = `${values.length}`;
  for (let at = 0; at < values.length; at++) key += encoder.encodeAt(at, values[at]);
  if (key.length <= LONGEST_PLAIN_KEY) return key;
  // A plain key begins with a digit. UTF-16, because UTF-8 maps all lone surrogates to the same bytes.
  return `#${hash('sha256', Buffer.from(key, 'utf16le'), 'base64url')}`;
}

function tooLong(): ValueProblem {
  return new ValueProblem('', `longer than ${LONGEST_KEY} characters in a key`);
}

class KeyEncoder {
  readonly #path: (string | number)[] = [];
  #length = 0;

  encodeAt(step: string | number, value: unknown): string {
    if (typeof value === 'string') {
      this.#spend(value.length);
      return `s${value.length}:${value}`;
    }
    if (typeof value !== 'object' || value === null) return this.#encodePrimitive(step, value);
    this.#path.push(step);
    if (this.#path.length > MAX_DEPTH) throw this.#problem('nested too deeply, or contains itself');
    const text = this.#encodeObject(value);
    this.#path.pop();
    return text;
  }

  /** Counts at each part: an object that occurs many times would make the text grow without end. */
  #spend(characters: number): void {
    this.#length += characters + 1;
    if (this.#length > LONGEST_KEY) throw tooLong();
  }

  #encodePrimitive(step: string | number, value: unknown): string {
    this.#spend(1);
    if (typeof value === 'number') return Object.is(value, -0) ? 'n-0;' : `n${value};`;
    if (value === undefined) return 'u';
    if (value === null) return 'l';
    if (typeof value === 'boolean') return value ? 't' : 'f';
    if (typeof value === 'bigint') return `i${value};`;
    this.#path.push(step);
    throw this.#problem(describeKind(value));
  }

  #encodeObject(value: object): string {
    switch (kindOf(value)) {
      case 'plain':
        return this.#encodeProperties('o', value);
      case 'bare':
        return this.#encodeProperties('p', value);
      case 'array':
        return this.#encodeArray(value as readonly unknown[]);
      case 'date':
        return `d${(value as Date).getTime()};`;
      case 'map':
        return this.#encodeList('m', [...(value as Map<unknown, unknown>)].flat(1));
      case 'set':
        return this.#encodeList('e', [...(value as Set<unknown>)]);
      case 'binary': {
        const bytes = bytesOfBinary(value);
        this.#spend(bytes.length);
        return `b${binaryNameOf(value)}:${bytes.length}:${bytes.toString('latin1')}`;
      }
      default:
        throw this.#problem(describeKind(value));
    }
  }

  #encodeProperties(tag: string, value: object): string {
    const names = Object.keys(value).sort();
    if (hasSymbols(value)) throw this.#problem('an object with symbols as keys');
    let text = `${tag}${names.length}:`;
    for (const name of names) {
      this.#spend(name.length);
      text += `${name.length}:${name}${this.encodeAt(name, (value as Record<string, unknown>)[name])}`;
    }
    return text;
  }

  #encodeArray(value: readonly unknown[]): string {
    this.#spend(value.length);
    let text = `a${value.length}:`;
    let filled = 0;
    for (let at = 0; at < value.length; at++) {
      const isHole = value[at] === undefined && !Object.hasOwn(value, at);
      text += isHole ? 'h' : this.encodeAt(at, value[at]);
      if (!isHole) filled++;
    }
    if (Object.keys(value).length !== filled || hasSymbols(value))
      throw this.#problem('an array with further properties');
    return text;
  }

  #encodeList(tag: string, values: readonly unknown[]): string {
    this.#spend(values.length);
    let text = `${tag}${values.length}:`;
    for (let at = 0; at < values.length; at++) text += this.encodeAt(at, values[at]);
    return text;
  }

  #problem(reason: string): ValueProblem {
    return new ValueProblem(this.#path.reduce<string>(joinPath, ''), reason);
  }
}
