import type { SearchVariance } from '../http/no-vary-search.js';
import { pathOf } from '../http/request-target.js';
import { InternTable } from '../runtime/intern.js';
import { copyText, copyToOwnMemory } from '../runtime/owned-memory.js';
import {
  type EncodedForm,
  hostOf,
  type KeptItem,
  type Prepared,
  type ResponseHead,
  type Reuse,
  type StoredField,
  type StoredResponse,
} from './stored-response.js';

/** The parts of a response that differ from one response of a route to the next. */
export type Own = Pick<
  StoredResponse,
  | 'key'
  | 'stamp'
  | 'since'
  | 'tags'
  | 'url'
  | 'etag'
  | 'date'
  | 'storedAt'
  | 'freshUntil'
  | 'handlerMicros'
  | 'body'
> & { readonly lastModified: string | undefined; readonly encoded: StoredResponse['encoded'] };

/** The parts that are derived from others. */
type Derived = 'kind' | 'path' | 'host' | 'headers' | 'prepared';

/** The parts that most responses of one route have in common, kept in memory once: all others. */
export type ResponseForm = {
  readonly [Name in Exclude<keyof StoredResponse, keyof Own | Derived>]-?: StoredResponse[Name];
} & {
  /** Names of the header fields. */
  readonly names: readonly string[];
};

type FormLines = StoredField[1];

/** A stored response in the memory tier, of which there may be a million, or one read from Redis. */
export class CompactResponse implements StoredResponse {
  readonly key: string;
  stamp: number;
  since: number;
  readonly tags: readonly string[];
  readonly url: string;
  readonly etag: string;
  readonly lastModified: string | undefined;
  readonly date: string;
  readonly storedAt: number;
  readonly freshUntil: number;
  readonly handlerMicros: number;
  readonly body: Buffer;
  encoded: Map<string, EncodedForm> | undefined;
  prepared: Prepared | undefined;
  readonly form: ResponseForm;
  /** Values of the header fields, in the order of `form.names`. */
  readonly values: readonly FormLines[];

  constructor(own: Own, form: ResponseForm, values: readonly FormLines[]) {
    this.key = own.key;
    this.stamp = own.stamp;
    this.since = own.since;
    this.tags = own.tags;
    this.url = own.url;
    this.etag = own.etag;
    this.lastModified = own.lastModified;
    this.date = own.date;
    // Whole numbers are kept inside the object, others beside it. Rounded down: an entry must not seem
    // younger.
    this.storedAt = Math.floor(own.storedAt);
    this.freshUntil = Math.floor(own.freshUntil);
    this.handlerMicros = Math.round(own.handlerMicros);
    this.body = own.body;
    this.encoded = own.encoded;
    this.prepared = undefined;
    this.form = form;
    this.values = values;
  }

  get kind(): 'response' {
    return 'response';
  }
  get path(): string {
    return pathOf(this.url);
  }
  get host(): string | undefined {
    return hostOf(this);
  }
  get headers(): readonly StoredField[] {
    const { names } = this.form;
    return this.values.map((lines, at) => [names[at]!, lines]);
  }
  get variance(): SearchVariance | undefined {
    return this.form.variance;
  }
  get vary(): readonly string[] {
    return this.form.vary;
  }
  get status(): number {
    return this.form.status;
  }
  get removed(): readonly string[] {
    return this.form.removed;
  }
  get ownEtag(): boolean {
    return this.form.ownEtag;
  }
  get initialAge(): number {
    return this.form.initialAge;
  }
  get reuse(): Reuse {
    return this.form.reuse;
  }
  get explicitlyShared(): boolean {
    return this.form.explicitlyShared;
  }
  get anyOrigin(): boolean | undefined {
    return this.form.anyOrigin;
  }
  get upstream(): boolean | undefined {
    return this.form.upstream;
  }
  get template(): string | undefined {
    return this.form.template;
  }
}

/** The part of a response that is kept for it alone, and the part that it has in common with others. */
export interface Compact {
  /** The same object for all responses that have these parts in common. */
  readonly form: { readonly names: readonly string[] };
  /** Values of the header fields, in the order of the form's names. */
  readonly values: readonly FormLines[];
}

/** The compact parts of a response; `undefined` for a response that is not compact. */
export function compactOf(entry: StoredResponse): Compact | undefined {
  return entry instanceof CompactResponse ? entry : undefined;
}

/** Maximum number of characters of interned texts, and of the names of forms. */
const MOST_REMEMBERED = 128 * 1024;

/** Maximum number of route templates whose latest form is kept. */
const MOST_TEMPLATES = 256;

/** Converts responses to their compact form, so that common parts are kept once. */
export class Compactor {
  readonly #texts = new Texts(MOST_REMEMBERED);
  readonly #forms = new InternTable<ResponseForm>(MOST_REMEMBERED);
  /** The form of the latest response, by route template. */
  readonly #latest = new Map<string | undefined, ResponseForm>();

  /** A copy that keeps no other memory alive: the parts of a response may be views of larger buffers. */
  compact(entry: StoredResponse): StoredResponse;
  compact(head: ResponseHead, kept: KeptItem): StoredResponse;
  compact(entry: ResponseHead, kept: KeptItem = entry as StoredResponse): StoredResponse {
    const names = entry.headers.map(([name]) => name);
    const values = entry.headers.map(([, lines]) => this.#lines(lines));
    const texts = this.#texts;
    const { lastModified } = entry;
    const own: Own = {
      key: copyText(entry.key),
      stamp: entry.stamp,
      since: entry.since,
      tags: entry.tags.map((tag) => texts.get(tag)),
      url: copyText(entry.url),
      etag: copyText(kept.etag),
      lastModified: lastModified === undefined ? undefined : texts.get(lastModified),
      date: texts.get(entry.date),
      storedAt: entry.storedAt,
      freshUntil: entry.freshUntil,
      handlerMicros: entry.handlerMicros,
      body: copyToOwnMemory(kept.body),
      encoded: kept.encoded,
    };
    return new CompactResponse(own, this.#formOf(entry, names), values);
  }

  #lines(lines: FormLines): FormLines {
    return typeof lines === 'string'
      ? this.#texts.get(lines)
      : Object.freeze(lines.map((line) => this.#texts.get(line)));
  }

  #formOf(entry: ResponseHead, names: readonly string[]): ResponseForm {
    // Responses of a route are mostly alike. Comparing with the last form costs a tenth of computing the
    // form's id.
    const last = this.#latest.get(entry.template);
    if (last && isOfForm(entry, names, last)) return last;
    const form = this.#formById(entry, names);
    if (this.#latest.size >= MOST_TEMPLATES) this.#latest.clear();
    this.#latest.set(form.template, form);
    return form;
  }

  #formById(entry: ResponseHead, names: readonly string[]): ResponseForm {
    const { variance, vary, status, removed, ownEtag, initialAge, reuse } = entry;
    const { explicitlyShared, anyOrigin, upstream, template } = entry;
    const search = variance && [variance.anyOrder, variance.mode, ...variance.names];
    const { alwaysValidate, mustRevalidate, staleWhileRevalidate, staleIfError } = reuse;
    const uses = [alwaysValidate, mustRevalidate, staleWhileRevalidate, staleIfError];
    const rest = [status, ownEtag, initialAge, explicitlyShared, anyOrigin, upstream, template, search, uses];
    const id = JSON.stringify([names, vary, removed, rest]);
    return this.#forms.get(id, () => ({
      variance,
      vary: vary.map(copyText),
      status,
      names: names.map(copyText),
      removed: removed.map(copyText),
      ownEtag,
      initialAge,
      reuse: { alwaysValidate, mustRevalidate, staleWhileRevalidate, staleIfError },
      explicitlyShared,
      anyOrigin,
      upstream,
      template: template === undefined ? undefined : copyText(template),
    }));
  }
}

/** Whether a response has the form. The caller compares the other parts. */
function isOfForm(entry: ResponseHead, names: readonly string[], form: ResponseForm): boolean {
  const { reuse } = entry;
  return (
    entry.variance === undefined &&
    form.variance === undefined &&
    entry.status === form.status &&
    entry.ownEtag === form.ownEtag &&
    entry.initialAge === form.initialAge &&
    entry.explicitlyShared === form.explicitlyShared &&
    entry.anyOrigin === form.anyOrigin &&
    entry.upstream === form.upstream &&
    entry.template === form.template &&
    reuse.alwaysValidate === form.reuse.alwaysValidate &&
    reuse.mustRevalidate === form.reuse.mustRevalidate &&
    reuse.staleWhileRevalidate === form.reuse.staleWhileRevalidate &&
    reuse.staleIfError === form.reuse.staleIfError &&
    isSameList(names, form.names) &&
    isSameList(entry.vary, form.vary) &&
    isSameList(entry.removed, form.removed)
  );
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, at) => text === b[at]);
}

class Texts {
  readonly #recent: InternTable<string>;

  constructor(most: number) {
    this.#recent = new InternTable(most);
  }

  get(text: string): string {
    return this.#recent.get(text, (own) => own);
  }
}
