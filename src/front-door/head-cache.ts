import type { IncomingMessage } from 'node:http';
import { isNotModified, readConditions, writeStored } from '../cache/serve/serve-stored.js';
import { acceptsIdentity } from '../http/accept-encoding.js';
import type { Conditions } from '../http/conditional-request.js';
import type { ContentEncoding } from '../http/content-encoding.js';
import { withPlainTags } from '../http/entity-tag.js';
import { findMatchingForm } from '../middleware/compression/etag.js';
import type { StoredResponse } from '../store/stored-response.js';
import type { FastPathDependencies } from './dependencies.js';
import { HeadBuilder } from './head-builder.js';
import { HeadGroup, HeadGroups } from './head-group.js';
import type { HeadTemplate } from './head-template.js';

/** What an `Accept-Encoding` comes to. */
interface Acceptance {
  readonly coding: ContentEncoding | '';
  readonly identity: boolean;
}

/** Different values of `Accept-Encoding` that are remembered; there are a handful of honest ones. */
const MOST_ACCEPTANCES = 100;

/** Longer values are read each time: clients choose them, and a header may have 16 kB. Characters. */
const LONGEST_ACCEPTANCE = 200;

const NO_ENCODING: Acceptance = { coding: '', identity: true };
const NO_CONDITIONS: Conditions = Object.freeze({});

/** Works out the heads of answers with stored responses, by the code of the middlewares, and keeps them. */
export class HeadCache {
  readonly #parts: FastPathDependencies;
  readonly #kinds: HeadGroups;
  readonly #acceptances = new Map<string, Acceptance>();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
    this.#kinds = new HeadGroups(parts);
  }

  kindOf(entry: StoredResponse, target: string): HeadGroup {
    if (entry.prepared instanceof HeadGroup) return entry.prepared;
    const kind = this.#kinds.of(entry, target);
    entry.prepared = kind;
    return kind;
  }

  /** @returns `undefined` where the answer is still to be compressed, or is one for the middlewares. */
  find(req: IncomingMessage, entry: StoredResponse, kind: HeadGroup): HeadTemplate | undefined {
    const { headers } = req;
    const { coding, identity } = this.#accepted(headers['accept-encoding']);
    if (!identity) return undefined;
    const variation = headers.cookie === undefined ? coding : `${coding} cookie`;
    const conditions = this.#conditionsOf(req);
    if (conditions && isNotModified(entry, conditions)) {
      const { ifNoneMatch: list } = conditions;
      const form = list === undefined ? undefined : findMatchingForm(entry.etag, list, coding || undefined);
      const own = `${variation} ${form}`;
      return kind.notModified(own) ?? this.#make(req, entry, kind, own, conditions);
    }
    return kind.whole(entry, coding, variation) ?? this.#make(req, entry, kind, variation, NO_CONDITIONS);
  }

  #conditionsOf(req: IncomingMessage): Conditions | undefined {
    const given = readConditions(req);
    const { ifNoneMatch } = given;
    if (ifNoneMatch === undefined && given.ifModifiedSince === undefined) return undefined;
    if (ifNoneMatch === undefined || !this.#parts.compression) return given;
    return { ...given, ifNoneMatch: withPlainTags(ifNoneMatch) };
  }

  #make(
    req: IncomingMessage,
    entry: StoredResponse,
    kind: HeadGroup,
    variation: string,
    conditions: Conditions,
  ): HeadTemplate | undefined {
    // HEAD takes what GET has made: it encodes nothing.
    if (req.method !== 'GET') return undefined;
    const { cacheControl, compression, state } = this.#parts;
    const heading = new HeadBuilder(req, entry, (coding, effort) =>
      state.encodings.find(entry, coding, effort),
    );
    writeStored(heading, { head: entry, length: entry.body.length }, kind.rule, conditions);
    cacheControl?.edit(heading);
    if (compression && !compression.edit(heading, conditions.ifNoneMatch)) return undefined;
    const shared = kind.isShared ? heading.toHead(state.dates) : undefined;
    if (shared) {
      kind.keep(entry, variation, shared, heading.isAsked);
      return shared;
    }
    const own = kind.isShared ? this.#kinds.alone(entry, kind) : kind;
    const head = heading.toHead()!;
    entry.prepared = own;
    own.keep(entry, variation, head, heading.isAsked);
    // Where it would not fit, it is made anew each time.
    if (!state.entries.store.resize(entry.key)) entry.prepared = undefined;
    return head;
  }

  #accepted(header: string | undefined): Acceptance {
    if (header === undefined) return NO_ENCODING;
    let known = this.#acceptances.get(header);
    if (!known) {
      const coding = this.#parts.compression?.codingFor(header) ?? '';
      known = { coding, identity: acceptsIdentity(header) };
      if (header.length > LONGEST_ACCEPTANCE) return known;
      if (this.#acceptances.size >= MOST_ACCEPTANCES) this.#acceptances.clear();
      this.#acceptances.set(header, known);
    }
    return known;
  }
}
