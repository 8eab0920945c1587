import type { IncomingMessage } from 'node:http';
import type { InstanceLabels } from '../../telemetry/instances/snapshot.js';
import type { ProblemStatus } from '../respond.js';
import type { ParameterName, Query } from './query.js';

/** A problem that a resource responds with. */
export class ResourceProblem {
  readonly status: ProblemStatus;
  readonly detail: string;

  constructor(status: ProblemStatus, detail: string) {
    this.status = status;
    this.detail = detail;
  }
}

/** The figures of one resource. */
export interface ResourceFigures {
  /** The instance that they are of; `null`: of all. Absent: of the one that got the request. */
  readonly instance?: InstanceLabels | null;
  /** How long ago they were read, where another instance has published them. Seconds. */
  readonly ageSeconds?: number;
  /** Settings, versions and limits. */
  readonly stable: object;
  /** Figures that change all the time. */
  readonly volatile: object;
}

/** A task that has begun: a 202 with the address of its state. */
export class AcceptedResult {
  readonly body: object;
  /** Relative to the address of the request, so that it holds behind a proxy that rewrites paths. */
  readonly location: string;

  constructor(body: object, location: string) {
    this.body = body;
    this.location = location;
  }
}

/** A body of another type than JSON. */
export class TextResult {
  readonly type: string;
  readonly text: string;

  constructor(type: string, text: string) {
    this.type = type;
    this.text = text;
  }
}

/** An address that is read. */
export interface FigureResource {
  readonly method: 'GET';
  readonly parameters: readonly ParameterName[];
  /** @returns the body of the response, or a promise of it. */
  read(query: Query, req: IncomingMessage): unknown;
}

/** An address that takes a body. */
export interface BodyResource {
  readonly method: 'POST';
  readonly action: 'read' | 'change';
  /** @returns the body of the response, or a promise of it. */
  run(body: unknown): unknown;
}

/** The address of the event stream. */
export interface StreamResource {
  readonly method: 'GET';
  readonly isStream: true;
}

export type Resource = FigureResource | BodyResource | StreamResource;
