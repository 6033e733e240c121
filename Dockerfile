# speechbrain_llase in a box: the command line, the page, scores.
#
#   docker build -t speechbrain_llase .
#   docker run --rm -v "$PWD:/data" speechbrain_llase \
#       enhance noisy.wav --output enhanced
#   docker run --rm -p 127.0.0.1:7860:7860 speechbrain_llase \
#       demo --host 0.0.0.0
#
# With an NVIDIA GPU add `--gpus all`. To keep your own user's ownership of the
# results, add `--user "$(id -u):$(id -g)"`.
FROM python:3.11-slim-bookworm

ENV HOME=/home/llase \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# A home that any user may write in: caches of the hubs lie there.
RUN useradd --uid 1000 --create-home llase && chmod 1777 /home/llase

COPY constraints.txt setup.py pyproject.toml MANIFEST.in LICENSE README.md /src/
COPY hparams /src/hparams
COPY speechbrain_llase /src/speechbrain_llase
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[demo,evaluation,formats]" \
    && rm -r /src

USER 1000
WORKDIR /data
EXPOSE 7860
ENTRYPOINT ["speechbrain-llase"]
CMD ["--help"]
