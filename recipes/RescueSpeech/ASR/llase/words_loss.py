"""What a SpeechBrain recogniser is trained with, found by what it is."""

import torch
from speechbrain.nnet.losses import ctc_loss, nll_loss
from speechbrain.utils.data_utils import batch_pad_right


class WordsLoss(torch.nn.Module):
    """The networks of a recogniser and the loss of what it is to read.

    Arguments
    ---------
    asr : Pretrained
        `EncoderASR` and its like (the encoder ends in log posteriors of CTC),
        or `EncoderDecoderASR` with a recurrent decoder, which is taught with
        the right tokens before it.
    blank_index : int
        Of CTC.

    Raises
    ------
    ValueError
        The recogniser is of neither kind.
    """

    def __init__(self, asr, blank_index: int = 0):
        super().__init__()
        searcher = getattr(asr.mods, "decoder", None)
        parts = ("emb", "dec", "fc", "bos_index", "eos_index")
        self.is_ctc = searcher is None or not hasattr(searcher, "emb")
        if self.is_ctc and hasattr(searcher, "bos_index"):
            raise ValueError(
                f"The decoder {type(searcher).__name__} is not recurrent; "
                "name a recogniser with CTC or with a recurrent decoder."
            )
        if not self.is_ctc:
            missing = [x for x in parts if not hasattr(searcher, x)]
            if missing:
                raise ValueError(f"The decoder has no {', '.join(missing)}.")
        self.networks = asr.mods.requires_grad_(True)
        self.tokenizer, self.blank_index = asr.tokenizer, blank_index

    def forward(self, wavs, lengths, texts: list[str]) -> torch.Tensor:
        """Compare what is read with what is said.

        Arguments
        ---------
        wavs : torch.Tensor
            float (B, T).
        lengths : torch.Tensor
            (B,), relative.
        texts : list of str
            What is said, B times.

        Returns
        -------
        loss : torch.Tensor
            (), a mean over tokens (of each item first, with CTC).
        """
        rows = [torch.tensor(self.encode(t), device=wavs.device) for t in texts]
        states = self.networks["encoder"](wavs, lengths)
        if self.is_ctc:
            tokens, token_lengths = batch_pad_right(rows)
            return ctc_loss(
                states, tokens, lengths, token_lengths, self.blank_index
            )
        searcher = self.networks["decoder"]
        begin = torch.tensor([searcher.bos_index], device=wavs.device)
        end = torch.tensor([searcher.eos_index], device=wavs.device)
        before, _ = batch_pad_right([torch.cat([begin, row]) for row in rows])
        after, token_lengths = batch_pad_right(
            [torch.cat([row, end]) for row in rows]
        )
        hidden, _ = searcher.dec(searcher.emb(before), states, lengths)
        posteriors = searcher.fc(hidden).log_softmax(-1)
        return nll_loss(posteriors, after, length=token_lengths)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, by sentencepiece or SpeechBrain's encoder."""
        if hasattr(self.tokenizer, "encode_as_ids"):
            return self.tokenizer.encode_as_ids(text)
        return self.tokenizer.encode_sequence(list(text))
