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

/** The result of parsing an `Accept-Encoding`. */
interface Acceptance {
  readonly coding: ContentEncoding | '';
  readonly identity: boolean;
}

/** Cached values of `Accept-Encoding`. Browsers send a handful; a client may send any. */
const MOST_ACCEPTANCES = 100;

/** Longer values are not cached: a client may send 16 kB. Characters. */
const LONGEST_ACCEPTANCE = 200;

const NO_ENCODING: Acceptance = { coding: '', identity: true };
const NO_CONDITIONS: Conditions = Object.freeze({});

/** Prepares and caches the heads of stored responses, with the code of the middlewares. */
export class HeadCache {
  readonly #parts: FastPathDependencies;
  readonly #groups: HeadGroups;
  readonly #acceptances = new Map<string, Acceptance>();

  constructor(parts: FastPathDependencies) {
    this.#parts = parts;
    this.#groups = new HeadGroups(parts);
  }

  groupOf(entry: StoredResponse, target: string): HeadGroup {
    if (entry.prepared instanceof HeadGroup) return entry.prepared;
    const group = this.#groups.of(entry, target);
    entry.prepared = group;
    return group;
  }

  /** @returns `undefined` if the middlewares must serve the entry, for example to compress it. */
  find(req: IncomingMessage, entry: StoredResponse, group: HeadGroup): HeadTemplate | undefined {
    const { headers } = req;
    const { coding, identity } = this.#accepted(headers['accept-encoding']);
    if (!identity) return undefined;
    const variation = headers.cookie === undefined ? coding : `${coding} cookie`;
    const conditions = this.#conditionsOf(req);
    if (conditions && isNotModified(entry, conditions)) {
      const { ifNoneMatch: list } = conditions;
      const form = list === undefined ? undefined : findMatchingForm(entry.etag, list, coding || undefined);
      const own = `${variation} ${form}`;
      return group.notModified(own) ?? this.#make(req, entry, group, own, conditions);
    }
    return group.whole(entry, coding, variation) ?? this.#make(req, entry, group, variation, NO_CONDITIONS);
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
    group: HeadGroup,
    variation: string,
    conditions: Conditions,
  ): HeadTemplate | undefined {
    // HEAD uses the heads that GET has prepared: it must not encode a body.
    if (req.method !== 'GET') return undefined;
    const { cacheControl, compression, state } = this.#parts;
    const heading = new HeadBuilder(req, entry, (coding, effort) =>
      state.encodings.find(entry, coding, effort),
    );
    writeStored(heading, { head: entry, length: entry.body.length }, group.rule, conditions);
    cacheControl?.edit(heading);
    if (compression && !compression.edit(heading, conditions.ifNoneMatch)) return undefined;
    const shared = group.isShared ? heading.toHead(state.dates) : undefined;
    if (shared) {
      group.keep(entry, variation, shared, heading.isAsked);
      return shared;
    }
    const own = group.isShared ? this.#groups.alone(entry, group) : group;
    const head = heading.toHead()!;
    entry.prepared = own;
    own.keep(entry, variation, head, heading.isAsked);
    // Without room in memory, the head is built for each request.
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
